package server

import (
	"runtime/debug"

	"github.com/openfaas/faas-provider/types"
)

// Version tells which commit this program was built from.
func Version() types.VersionInfo {
	v := types.VersionInfo{Release: "dev"}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	if info.Main.Version != "" && info.Main.Version != "(devel)" {
		v.Release = info.Main.Version
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			v.SHA = s.Value
		case "vcs.time":
			v.CommitMessage = "commit of " + s.Value
		}
	}
	return v
}
