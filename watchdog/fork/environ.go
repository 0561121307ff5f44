package fork

import (
	"net/http"
	"strconv"
	"strings"
)

// environ is what a process is told of its request, as variables of its
// environment: Http_Method, Http_Path, Http_Query, Http_Host,
// Http_Content_Length, Http_Transfer_Encoding, and each header as Http_ and its
// name with underscores.
//
// A client writes the headers, so some stay away: Proxy, which common libraries
// would take for the setting of the same name in lower case; names with an
// underscore, and those of the variables above, which would pass for others.
func environ(base []string, r *http.Request) []string {
	env := make([]string, len(base), len(base)+len(r.Header)+6)
	copy(env, base)
	for name, values := range r.Header {
		if !reserved(name) {
			env = append(env, "Http_"+strings.ReplaceAll(name, "-", "_")+"="+strings.Join(values, ", "))
		}
	}
	env = append(env, "Http_Method="+r.Method, "Http_Path="+r.URL.Path, "Http_Host="+r.Host)
	if r.URL.RawQuery != "" {
		env = append(env, "Http_Query="+r.URL.RawQuery)
	}
	if r.ContentLength >= 0 {
		env = append(env, "Http_Content_Length="+strconv.FormatInt(r.ContentLength, 10))
	}
	if len(r.TransferEncoding) > 0 {
		env = append(env, "Http_Transfer_Encoding="+strings.Join(r.TransferEncoding, ", "))
	}
	return env
}

func reserved(header string) bool {
	switch header {
	case "Proxy", "Method", "Path", "Query", "Host", "Content-Length", "Transfer-Encoding":
		return true
	}
	return strings.Contains(header, "_")
}
