package main

import (
	"maps"
	"strings"
	"testing"
)

func TestParseArgs(t *testing.T) {
	for _, c := range []struct {
		name, args string
		want       request
		wantErr    string
	}{
		{name: "as faas-cli calls it", args: "--build-arg ADDITIONAL_PACKAGE= --tag digits:latest .",
			want: request{context: ".", tag: "digits:latest"}},
		{name: "flags that change nothing", args: "--no-cache --squash --pull --progress plain -t a .",
			want: request{context: ".", tag: "a"}},
		{name: "values with =", args: "--tag=a --label=x=y=z --build-arg=A= dir",
			want: request{context: "dir", tag: "a", labels: map[string]string{"x": "y=z"}}},
		{name: "a build argument with a value", args: "--build-arg GOPROXY=off -t a .",
			want: request{context: ".", tag: "a", notes: []string{"build argument GOPROXY is not used: only a Dockerfile could"}}},
		{name: "no tag", args: ".", wantErr: "--tag IMAGE is missing"},
		{name: "no context", args: "--tag a", wantErr: "folder to build is missing"},
		{name: "two contexts", args: "--tag a . b", wantErr: "two contexts"},
		{name: "two tags", args: "-t a -t b .", wantErr: "two tags"},
		{name: "flag without value", args: ". --tag", wantErr: "--tag needs a value"},
		{name: "a secret after the context", args: "--tag a . --secret id=x,src=y", wantErr: "--secret is not supported"},
		{name: "another Dockerfile", args: "-f other --tag a .", wantErr: "-f is not supported"},
		{name: "unknown flag", args: "--gpus all --tag a .", wantErr: "--gpus is not supported"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := parseArgs(strings.Fields(c.args))
			if c.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), c.wantErr) {
					t.Fatalf("error %v, want %q", err, c.wantErr)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got.context != c.want.context || got.tag != c.want.tag || !maps.Equal(got.labels, c.want.labels) ||
				strings.Join(got.notes, ";") != strings.Join(c.want.notes, ";") {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
}
