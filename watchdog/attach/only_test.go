package attach

import (
	"net/http"
	"testing"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"github.com/faas-gpu/faas-gpu/watchdog/models"
)

func TestOnlyRoute(t *testing.T) {
	of := func(names ...string) *Proxy {
		folder := &models.Folder{}
		for _, name := range names {
			folder.Models = append(folder.Models, models.Model{Offer: api.Offer{Name: name, Version: "1"}})
		}
		return &Proxy{a: &Attachment{Options: Options{Models: folder}}}
	}
	for _, tc := range []struct {
		p            *Proxy
		method, path string
		want         string
		status       int
	}{
		{of("m"), "POST", "/", "/v2/models/m/infer", 0},
		{of("m"), "GET", "/", "/v2/models/m", 0},
		{of("m"), "HEAD", "/", "/v2/models/m", 0},
		{of("m"), "PUT", "/", "", http.StatusMethodNotAllowed},
		{of("m"), "POST", "/infer", "", http.StatusNotFound},
		{of("a", "b"), "POST", "/", "", http.StatusNotFound},
		{of(), "POST", "/", "", http.StatusNotFound},
	} {
		path, err := tc.p.onlyRoute(tc.method, tc.path)
		if path != tc.want || (err != nil) != (tc.status != 0) || err != nil && err.Status != tc.status {
			t.Errorf("%s %s: %q, %v", tc.method, tc.path, path, err)
		}
	}
}
