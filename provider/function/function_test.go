package function

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/openfaas/faas-provider/types"

	"github.com/faas-gpu/faas-gpu/provider/runtime"
)

func deployment(change func(*types.FunctionDeployment)) types.FunctionDeployment {
	d := types.FunctionDeployment{Service: "digits", Image: "digits:latest"}
	if change != nil {
		change(&d)
	}
	return d
}

func labels(kv ...string) func(*types.FunctionDeployment) {
	m := map[string]string{}
	for i := 0; i < len(kv); i += 2 {
		m[kv[i]] = kv[i+1]
	}
	return func(d *types.FunctionDeployment) { d.Labels = &m }
}

func envVar(name, value string) func(*types.FunctionDeployment) {
	return func(d *types.FunctionDeployment) { d.EnvVars = map[string]string{name: value} }
}

func TestParse(t *testing.T) {
	plain := Spec{
		ID:          runtime.ID{Namespace: "openfaas-fn", Name: "digits"},
		GPU:         GPU{SLO: Unsaid, Mode: "shared"},
		StopTimeout: 32 * time.Second,
	}
	with := func(change func(*Spec)) Spec { s := plain; change(&s); return s }
	cases := map[string]struct {
		change func(*types.FunctionDeployment)
		want   Spec
	}{
		"plain":     {nil, plain},
		"namespace": {func(d *types.FunctionDeployment) { d.Namespace = "lab" }, with(func(s *Spec) { s.ID.Namespace = "lab" })},
		"labels": {
			labels("com.openfaas.gpu.model", "digits", "com.openfaas.gpu.slo", "80ms", "com.openfaas.gpu.slo.refuse", "true",
				"com.openfaas.gpu.policy", "lalb", "com.openfaas.scale.min", "2",
				"com.openfaas.scale.max", "4", "com.openfaas.scale.zero", "true", "com.openfaas.scale.zero-duration", "15m", "other", "x"),
			with(func(s *Spec) {
				s.GPU.Model, s.GPU.SLO, s.GPU.Refuse, s.GPU.Policy = "digits", 80*time.Millisecond, true, "lalb"
				s.Scale = Scale{Min: 2, Max: 4, Zero: true, ZeroAfter: 15 * time.Minute}
			}),
		},
		"an annotation wins over a label": {
			func(d *types.FunctionDeployment) {
				d.Labels = &map[string]string{"com.openfaas.gpu.fallback": "cpu"}
				d.Annotations = &map[string]string{"com.openfaas.gpu.fallback": "wait"}
			},
			with(func(s *Spec) { s.GPU.Fallback = "wait" }),
		},
		"limits": {
			func(d *types.FunctionDeployment) {
				d.Limits = &types.FunctionResources{Memory: "5Mi", CPU: "1500m", NvidiaGPU: "1"}
				d.Requests = &types.FunctionResources{Memory: "1Gi", CPU: "2"}
			},
			with(func(s *Spec) { s.Limits = runtime.Resources{MemoryBytes: 5 << 20, MilliCPU: 1500} }),
		},
		"max_inflight":  {envVar("max_inflight", "3"), with(func(s *Spec) { s.MaxInFlight = 3 })},
		"write_timeout": {envVar("write_timeout", "5"), with(func(s *Spec) { s.StopTimeout, s.Answer = 7*time.Second, 7*time.Second })},
		"healthcheck_interval": {envVar("healthcheck_interval", "1500ms"),
			with(func(s *Spec) { s.StopTimeout = 33500 * time.Millisecond })},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := Parse(deployment(c.change))
			if err != nil || got != c.want {
				t.Errorf("got %+v, %v\nwant %+v", got, err, c.want)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	cases := map[string]struct {
		change func(*types.FunctionDeployment)
		field  string
	}{
		"no name":        {func(d *types.FunctionDeployment) { d.Service = "" }, "service"},
		"upper case":     {func(d *types.FunctionDeployment) { d.Service = "Digits" }, "service"},
		"dots":           {func(d *types.FunctionDeployment) { d.Service = "../x" }, "service"},
		"long name":      {func(d *types.FunctionDeployment) { d.Service = strings.Repeat("a", 64) }, "service"},
		"bad namespace":  {func(d *types.FunctionDeployment) { d.Namespace = "a.b" }, "namespace"},
		"no image":       {func(d *types.FunctionDeployment) { d.Image = " " }, "image"},
		"factor 0":       {labels("com.openfaas.scale.factor", "0"), "com.openfaas.scale.factor"},
		"min 0":          {labels("com.openfaas.scale.min", "0"), "com.openfaas.scale.min"},
		"min over max":   {labels("com.openfaas.scale.min", "5", "com.openfaas.scale.max", "2"), "com.openfaas.scale.min"},
		"max text":       {labels("com.openfaas.scale.max", "many"), "com.openfaas.scale.max"},
		"target":         {labels("com.openfaas.scale.target", "-1"), "com.openfaas.scale.target"},
		"zero":           {labels("com.openfaas.scale.zero", "maybe"), "com.openfaas.scale.zero"},
		"zero-duration":  {labels("com.openfaas.scale.zero-duration", "15"), "com.openfaas.scale.zero-duration"},
		"proportion":     {labels("com.openfaas.scale.target-proportion", "NaN"), "com.openfaas.scale.target-proportion"},
		"slo":            {labels("com.openfaas.gpu.slo", "fast"), "com.openfaas.gpu.slo"},
		"slo 0":          {labels("com.openfaas.gpu.slo", "0s"), "com.openfaas.gpu.slo"},
		"refuse":         {labels("com.openfaas.gpu.slo.refuse", "perhaps"), "com.openfaas.gpu.slo.refuse"},
		"mode":           {labels("com.openfaas.gpu.mode", "alone"), "com.openfaas.gpu.mode"},
		"policy":         {labels("com.openfaas.gpu.policy", "best"), "com.openfaas.gpu.policy"},
		"empty policy":   {labels("com.openfaas.gpu.policy", ""), "com.openfaas.gpu.policy"},
		"model path":     {labels("com.openfaas.gpu.model", "../x"), "com.openfaas.gpu.model"},
		"misspelled":     {labels("com.openfaas.gpu.sol", "80ms"), "com.openfaas.gpu.sol"},
		"memory":         {func(d *types.FunctionDeployment) { d.Limits = &types.FunctionResources{Memory: "5Mb"} }, "limits.memory"},
		"no cpu":         {func(d *types.FunctionDeployment) { d.Limits = &types.FunctionResources{CPU: "0"} }, "limits.cpu"},
		"request":        {func(d *types.FunctionDeployment) { d.Requests = &types.FunctionResources{CPU: "x"} }, "requests.cpu"},
		"gpus":           {func(d *types.FunctionDeployment) { d.Limits = &types.FunctionResources{NvidiaGPU: "all"} }, "limits.nvidia.com/gpu"},
		"max_inflight":   {envVar("max_inflight", "few"), "envVars.max_inflight"},
		"write_timeout":  {envVar("write_timeout", "-1s"), "envVars.write_timeout"},
		"variable":       {envVar("a=b", "c"), "envVars"},
		"variable value": {envVar("a", "\x00"), "envVars"},
		"process":        {func(d *types.FunctionDeployment) { d.EnvProcess = "a\x00b" }, "envProcess"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := Parse(deployment(c.change))
			if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), c.field+": ") {
				t.Errorf("got %v, want an error about %s", err, c.field)
			}
		})
	}
}

func TestDeployment(t *testing.T) {
	d := deployment(labels("com.openfaas.scale.min", "3", "com.openfaas.gpu.mode", "dedicated"))
	s, err := Parse(d)
	if err != nil {
		t.Fatal(err)
	}
	got := s.Deployment(d)
	if got.Replicas != 3 || got.Environment["cachemgr_mode"] != "child" || !reflect.DeepEqual(got.Request, d) {
		t.Errorf("got %+v", got)
	}
}

func TestStatusIsWhatWasSubmitted(t *testing.T) {
	const submitted = `{"service":"digits","image":"Registry/digits","envProcess":"./x","envVars":{"a":"b=c"},
		"constraints":["z","a"],"secrets":["s"],"labels":{"l":"1"},"annotations":{"a":"2"},"network":"ignored",
		"limits":{"memory":"5Mi","cpu":"100m","nvidia.com/gpu":"1"},"readOnlyRootFilesystem":true}`
	d, err := Decode([]byte(submitted))
	if err != nil {
		t.Fatal(err)
	}
	s, err := Parse(d)
	if err != nil {
		t.Fatal(err)
	}
	f := &runtime.Function{Deployment: s.Deployment(d), Desired: 2, Replicas: []runtime.Replica{{Ready: true}, {}}}
	got := Status(f, 7)
	want := types.FunctionStatus{
		Name: "digits", Namespace: "openfaas-fn", Image: "Registry/digits", EnvProcess: "./x",
		EnvVars: map[string]string{"a": "b=c"}, Constraints: []string{"z", "a"}, Secrets: []string{"s"},
		Labels:      &map[string]string{"l": "1", "faas_function": "digits"},
		Annotations: &map[string]string{"a": "2"},
		Limits:      &types.FunctionResources{Memory: "5Mi", CPU: "100m", NvidiaGPU: "1"}, ReadOnlyRootFilesystem: true,
		InvocationCount: 7, Replicas: 2, AvailableReplicas: 1,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if len(*d.Labels) != 1 {
		t.Errorf("the submitted labels were changed: %v", *d.Labels)
	}
}

func TestStatusWithoutAnything(t *testing.T) {
	f := &runtime.Function{Deployment: runtime.Deployment{ID: runtime.ID{Namespace: "n", Name: "f"}}}
	out, err := json.Marshal(Status(f, 0))
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"name":"f","image":"","namespace":"n","labels":{"faas_function":"f"},"annotations":{},"createdAt":"0001-01-01T00:00:00Z"}`
	if string(out) != want {
		t.Errorf("got %s", out)
	}
}

func TestStatusSaysWhatIsWrong(t *testing.T) {
	submitted := map[string]string{"a": "b"}
	f := &runtime.Function{Deployment: runtime.Deployment{Request: deployment(func(d *types.FunctionDeployment) { d.Annotations = &submitted })}}
	for problem, want := range map[string]map[string]string{
		"":        {"a": "b"},
		"pulling": {"a": "b", "com.openfaas.gpu.problem": "pulling"},
	} {
		f.Problem = problem
		if got := *Status(f, 0).Annotations; !maps.Equal(got, want) {
			t.Errorf("problem %q: annotations %v, want %v", problem, got, want)
		}
	}
	if len(submitted) != 1 {
		t.Errorf("what was submitted is now %v", submitted)
	}
}

func TestUsage(t *testing.T) {
	f := &runtime.Function{Replicas: []runtime.Replica{{}}}
	if u := Usage(f); u != nil {
		t.Errorf("got %+v of a replica that cannot tell", u)
	}
	use := func() runtime.Usage { return runtime.Usage{MilliCPU: 2, MemoryBytes: 3} }
	f.Replicas = append(f.Replicas, runtime.Replica{Usage: use}, runtime.Replica{Usage: use})
	if u := Usage(f); *u != (types.FunctionUsage{CPU: 4, TotalMemoryBytes: 6}) {
		t.Errorf("got %+v", u)
	}
}

func FuzzDeployment(f *testing.F) {
	f.Add([]byte(`{"service":"digits","image":"digits","labels":{"com.openfaas.scale.min":"2"}}`))
	f.Add([]byte(`{"service":"a","image":"b","labels":null,"annotations":{"com.openfaas.gpu.slo":"1h"}}`))
	f.Add([]byte(`{"service":"a","image":"b","limits":{"memory":"1e9","cpu":"0.1"},"envVars":{"write_timeout":"1h"}}`))
	f.Add([]byte(`[`))
	f.Fuzz(func(t *testing.T, body []byte) {
		d, err := Decode(body)
		if err != nil {
			return
		}
		s, err := Parse(d)
		if err != nil {
			if !errors.Is(err, ErrInvalid) {
				t.Fatalf("error of another kind: %v", err)
			}
			return
		}
		if !ValidName(s.ID.Name) || !ValidName(s.ID.Namespace) || s.Limits.MemoryBytes < 0 || s.Limits.MilliCPU < 0 ||
			s.StopTimeout < 0 || s.MaxInFlight < 0 || s.Deployment(d).Replicas < 1 {
			t.Fatalf("accepted %s as %+v", fmt.Sprint(d), s)
		}
		status := Status(&runtime.Function{Deployment: s.Deployment(d)}, 0)
		if _, err := json.Marshal(status); err != nil {
			t.Fatal(err)
		}
	})
}
