package fork

import (
	"net/http/httptest"
	"os"
	"testing"

	"github.com/faas-gpu/faas-gpu/watchdog/logs"
)

// BenchmarkProcess is what a process that does nothing costs a request.
func BenchmarkProcess(b *testing.B) {
	for name, whole := range map[string]int64{"streaming": 0, "serializing": 1 << 20} {
		b.Run(name, func(b *testing.B) {
			h, err := New(Options{Command: []string{"true"}, Environ: os.Environ(), Whole: whole, Stderr: logs.NewPlain(os.Stderr, false), MaxLine: 1 << 16})
			if err != nil {
				b.Fatal(err)
			}
			defer h.Close()
			for b.Loop() {
				w := httptest.NewRecorder()
				if h.ServeHTTP(w, httptest.NewRequest("POST", "/", nil)); w.Code != 200 {
					b.Fatal(w.Code, w.Body)
				}
			}
		})
	}
}
