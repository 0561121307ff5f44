package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/openfaas/faas-provider/types"

	"github.com/faas-gpu/faas-gpu/stack/lab"
	"github.com/faas-gpu/faas-gpu/stack/modelgen"
)

// TestNamespaceCommands does with faas-cli, behind the real gateway, what people do
// with namespaces.
func TestNamespaceCommands(t *testing.T) {
	gateway, cli := os.Getenv("GATEWAY"), os.Getenv("FAAS_CLI")
	if gateway == "" || cli == "" {
		t.Skip("GATEWAY and FAAS_CLI name no programs; `make test` builds them")
	}
	l := behindGateway(t, gateway)
	if l == nil {
		return // it has run in its namespace
	}
	build(t, l, "digits", "go-trt", "", nil)
	scan := scans(t)[0]
	pixels, err := json.Marshal(scan.Pixels)
	must(t, err)
	for _, step := range []struct{ args, stdin, says string }{
		{"login --password-stdin", l.Password, "credentials saved"},
		{"namespace create team --label a=b", "", "Namespace Created: team"},
		{"namespace list", "", "team"},
		{"namespace get team", "", "a: b"},
		{"namespace update team --label c=d", "", "Namespace Updated: team"},
		{"namespace get team", "", "c: d"},
		{"secret create key --from-literal=value -n team", "", "202"},
		{"secret list -n team", "", "key"},
		{"deploy --image digits --name digits --secret key -n team", "", "202"},
		{"ready digits -n team", "", "is ready"},
		{"invoke digits -n team", string(pixels), fmt.Sprintf(`"class":%d`, scan.Digit)},
		{"describe digits -n team", "", "digits.team"},
		{"logs digits -n team --tail=false", "", "POST"},
		{"list -n team", "", "digits"},
		{"remove digits -n team", "", "Removing"},
		{"namespace remove team", "", "Namespace Removed: team"},
	} {
		if out := faasCLI(t, l, cli, step.args, step.stdin); !strings.Contains(out, step.says) {
			t.Errorf("faas-cli %s printed %q, want %q in it", step.args, out, step.says)
		}
	}
	for _, args := range []string{"list", "secret list"} {
		if out := faasCLI(t, l, cli, args, ""); strings.Contains(out, "digits") || strings.Contains(out, "key") {
			t.Errorf("faas-cli %s printed %q: it is of another namespace", args, out)
		}
	}
	if out := faasCLI(t, l, cli, "namespace list", ""); strings.Contains(out, "team") {
		t.Errorf("after its removal the namespace is listed: %q", out)
	}
}

// TestSameNames gives functions of the same name in two namespaces models of the
// same name, with weights of their own: each answers with its own.
func TestSameNames(t *testing.T) {
	l := start(t, lab.Options{})
	must(t, l.System(t.Context(), http.MethodPost, "/system/namespace/", types.FunctionNamespace{
		Name: "other", Labels: map[string]string{"openfaas": "1"},
	}, nil))
	ids := []string{lab.Namespace, "other"}
	var answers [2]string
	for i, namespace := range ids {
		model := generate(t, modelgen.Spec{Family: modelgen.SqueezeNet, Resolution: 64, Seed: uint64(i + 1)})
		build(t, l, "same-"+namespace, "go-trt", "stack/bench/function", map[string][]byte{"m/1": model})
		must(t, l.System(t.Context(), http.MethodPost, "/system/functions", types.FunctionDeployment{
			Service: "same", Namespace: namespace, Image: "same-" + namespace, EnvVars: raw("input", "output", "1,3,64,64"),
		}, nil))
	}
	input := make([]byte, 3*64*64*4)
	for round := range 3 {
		for i, namespace := range ids {
			a := invokeIn(t, l, "same", namespace, input)
			switch {
			case a.Status != http.StatusOK:
				t.Fatalf("same.%s answered %d: %s", namespace, a.Status, a.Body)
			case round == 0:
				answers[i] = string(a.Body)
			case answers[i] != string(a.Body):
				t.Errorf("same.%s answers otherwise than before", namespace)
			}
		}
		if answers[0] == answers[1] {
			t.Fatal("models of different weights give the same answer")
		}
	}
	if err := l.System(t.Context(), http.MethodDelete, "/system/namespace/other", nil, nil); err == nil || !strings.Contains(err.Error(), "same") {
		t.Errorf("to remove a namespace with a function: %v, want a refusal that names it", err)
	}
	must(t, l.System(t.Context(), http.MethodDelete, "/system/functions", types.DeleteFunctionRequest{FunctionName: "same", Namespace: "other"}, nil))
	must(t, l.System(t.Context(), http.MethodDelete, "/system/namespace/other", nil, nil))
	if a := invokeIn(t, l, "same", lab.Namespace, input); a.Status != http.StatusOK || string(a.Body) != answers[0] {
		t.Errorf("without the other one it answers %d and otherwise than before", a.Status)
	}
}

func invokeIn(t *testing.T, l *lab.Lab, name, namespace string, body []byte) *lab.Answer {
	t.Helper()
	resp, err := http.Post(l.URL+"/function/"+name+"."+namespace, "application/octet-stream", bytes.NewReader(body))
	must(t, err)
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	must(t, err)
	return &lab.Answer{Status: resp.StatusCode, Header: resp.Header, Body: answer}
}
