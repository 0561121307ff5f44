package provider

import (
	"net/http"

	"github.com/openfaas/faas-provider/types"
)

// info answers GET /system/info. Clients refuse it if a field is empty.
func (p *Provider) info(w http.ResponseWriter, _ *http.Request) {
	v := p.cfg.Version
	writeJSON(w, types.ProviderInfo{
		Name:          "faas-gpu",
		Orchestration: either(p.cfg.Runtime.Info().Orchestration, "unknown"),
		Version: &types.VersionInfo{
			Release:       either(v.Release, "dev"),
			SHA:           either(v.SHA, "unknown"),
			CommitMessage: either(v.CommitMessage, "built from a working tree"),
		},
	})
}
