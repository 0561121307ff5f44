package fork

import (
	"bufio"
	"net/http"
	"strings"
	"testing"
)

// Whatever a client sends, each variable is there once and what it says is true,
// and nothing else of the environment is touched.
func FuzzEnviron(f *testing.F) {
	for _, head := range []string{
		"X-Call-Id: 1\r\nX-Call-Id: 2\r\n", "Proxy: http://evil\r\nMethod: PUT\r\n", "A_B: 1\r\nA-B: 2\r\n",
		"Transfer-Encoding: chunked\r\n", "Content-Length: 0\r\nQuery: x\r\n", "X-Empty:\r\n", "path: /p\r\nhTtP-mEtHoD: x\r\n",
	} {
		f.Add("/a%20b?c=d", head)
	}
	f.Fuzz(func(t *testing.T, target, head string) {
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader("POST " + target + " HTTP/1.1\r\nHost: h\r\n" + head + "\r\n")))
		if err != nil {
			return
		}
		base := []string{"PATH=/bin", "mine=1"}
		env := environ(base, r)
		seen := map[string]string{}
		for i, kv := range env {
			name, value, ok := strings.Cut(kv, "=")
			if i < len(base) {
				if kv != base[i] {
					t.Fatalf("%q has become %q", base[i], kv)
				}
				continue
			}
			if _, twice := seen[name]; !ok || twice || !strings.HasPrefix(name, "Http_") {
				t.Fatalf("variable %q among %q", kv, env)
			}
			seen[name] = value
		}
		if seen["Http_Method"] != r.Method || seen["Http_Path"] != r.URL.Path || seen["Http_Query"] != r.URL.RawQuery || seen["Http_Host"] != r.Host {
			t.Fatalf("%q of %+v", env, r)
		}
		if _, set := seen["Http_Proxy"]; set {
			t.Fatal("the header Proxy gets through")
		}
	})
}
