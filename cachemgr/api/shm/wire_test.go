package shm

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestParseRequest(t *testing.T) {
	for _, tt := range []struct {
		packet      string
		descriptors int
		want        string // in the error; "" is a good request
	}{
		{`{"op":"hello","token":"t"}`, 0, ""},
		{`{"op":"hello"}`, 0, ""},
		{` {"op":"register"} `, 1, ""},
		{`{"op":"unregister","region":"r"}`, 0, ""},
		{``, 0, "not the JSON expected"},
		{`{`, 0, "not the JSON expected"},
		{`[]`, 0, "not the JSON expected"},
		{`{"op":"hello","other":1}`, 0, "not the JSON expected"},
		{`{"op":"hello"}{}`, 0, "something follows"},
		{`{"op":"hello"}x`, 0, "something follows"},
		{`{}`, 0, `op "" is none of`},
		{`{"op":"erase"}`, 0, `op "erase" is none of`},
		{`{"op":"register"}`, 0, "with 1 descriptors, not with 0"},
		{`{"op":"register"}`, 2, "with 1 descriptors, not with 2"},
		{`{"op":"hello"}`, 1, "with 0 descriptors, not with 1"},
		{`{"op":"register","token":"t"}`, 1, "register has no token"},
		{`{"op":"register","region":"r"}`, 1, "nothing else does"},
		{`{"op":"unregister"}`, 0, "names a region"},
	} {
		r, err := ParseRequest([]byte(tt.packet), tt.descriptors)
		switch {
		case tt.want == "" && err != nil:
			t.Errorf("%s: %v", tt.packet, err)
		case tt.want != "" && (!errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), tt.want)):
			t.Errorf("%s: %+v, %v; want %q", tt.packet, r, err, tt.want)
		}
	}
}

func FuzzParseRequest(f *testing.F) {
	for _, s := range []string{`{"op":"hello","token":"t"}`, `{"op":"register"}`, `{"op":"unregister","region":"r"}`, `{"op":"hello"}{}`, `{"OP":"hello"}`, ``} {
		f.Add([]byte(s), 0)
		f.Add([]byte(s), 1)
	}
	f.Fuzz(func(t *testing.T, packet []byte, descriptors int) {
		r, err := ParseRequest(packet, descriptors)
		if err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Errorf("error %v", err)
			}
			return
		}
		if (r.Op == OpRegister) != (descriptors == 1) || (r.Op == OpUnregister) != (r.Region != "") {
			t.Errorf("%q with %d descriptors is %+v", packet, descriptors, r)
		}
		text, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := ParseRequest(text, descriptors); err != nil || again != r {
			t.Errorf("%+v was written, %+v read (%v)", r, again, err)
		}
	})
}
