package lab

import (
	"context"
	"os"
	"path/filepath"
	"strings"
)

// GatewayURL is where the OpenFaaS gateway listens, on all interfaces: it cannot
// be told otherwise.
const GatewayURL = "http://127.0.0.1:8080"

// StartGateway puts the OpenFaaS gateway in front of the provider, with its
// password and without a Prometheus. The program has its assets beside it.
func (l *Lab) StartGateway(ctx context.Context, program string) (*Process, error) {
	gateway := &Process{
		program: program, dir: filepath.Dir(program), logFile: filepath.Join(l.Dir, "gateway.log"),
		environ: append(os.Environ(), "functions_provider_url="+l.URL+"/", "function_namespace="+Namespace,
			"basic_auth=true", "secret_mount_path="+l.Dir, "scale_from_zero=true",
			"faas_prometheus_host=127.0.0.1", "faas_prometheus_port="+l.URL[strings.LastIndex(l.URL, ":")+1:],
			"read_timeout=60s", "write_timeout=60s", "upstream_timeout=50s"),
		ready: func(ctx context.Context) error { return l.get(ctx, l.client, GatewayURL+"/healthz") },
	}
	return gateway, gateway.start(ctx)
}
