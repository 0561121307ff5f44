package embedded

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// envFile is what a shell sources to use the stack: `. FILE`.
func envFile(c Config, url string) []byte {
	var b bytes.Buffer
	for _, v := range []struct{ name, value string }{
		{"OPENFAAS_URL", url},
		// The password is the stack's: it does not belong among the user's others.
		{"OPENFAAS_CONFIG", filepath.Join(c.StateDir, "faas-cli")},
		{"FAAS_GPU_IMAGES", c.images()},
		{"FAAS_GPU_SOURCE", c.Source},
		{"FAAS_GPU_WATCHDOG", c.Watchdog},
	} {
		if v.value != "" {
			fmt.Fprintf(&b, "export %s=%s\n", v.name, quote(v.value))
		}
	}
	if c.ToolsPath != "" {
		fmt.Fprintf(&b, "export PATH=%s:\"$PATH\"\n", quote(c.ToolsPath))
	}
	return b.Bytes()
}

// quote makes one word of a shell of any text.
func quote(text string) string {
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}

// writeWhole writes a file so that it is there as a whole or not at all.
func writeWhole(name string, data []byte) error {
	tmp := name + ".tmp"
	if err := os.WriteFile(tmp, data, 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, name)
}
