package reconcile

import (
	"strings"
	"testing"

	"github.com/faas-gpu/faas-gpu/provider/runtime"
)

func FuzzID(f *testing.F) {
	f.Add(runtime.DefaultNamespace, "digits")
	f.Add("..", "a/b")
	f.Fuzz(func(t *testing.T, namespace, name string) {
		if CheckID(runtime.ID{Namespace: namespace, Name: name}) != nil {
			return
		}
		for _, part := range []string{namespace, name} {
			if part == "" || len(part) > 63 || strings.ContainsAny(part, "./\\ \x00") {
				t.Errorf("accepted %q in %q", name, namespace)
			}
		}
	})
}
