// Package template tests the templates that are not part of this module.
package template

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
)

// python starts python-trt's server as the watchdog does, with a watchdog whose
// models answer as handler does. It returns the server's address.
func python(t *testing.T, handler http.HandlerFunc) string {
	t.Helper()
	watchdog := httptest.NewServer(handler)
	t.Cleanup(watchdog.Close)
	u, err := url.Parse(watchdog.URL)
	if err != nil {
		t.Fatal(err)
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	free.Close()

	cmd := exec.Command("python3", "-B", "index.py")
	cmd.Dir = "python-trt"
	cmd.Env = append(os.Environ(), "upstream_url=http://"+address, "port="+u.Port())
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	deadline := time.Now().Add(20 * time.Second)
	for {
		c, err := net.Dial("tcp", address)
		if err == nil {
			c.Close()
			return address
		}
		if time.Now().After(deadline) {
			t.Fatalf("the server does not listen: %v", err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// callID is that of every request.
const callID = "id-of-the-request"

func post(t *testing.T, address, body string) (int, map[string]any) {
	t.Helper()
	req, err := http.NewRequest("POST", "http://"+address+"/", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Call-Id", callID)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var answer map[string]any
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		t.Fatal(err)
	}
	if again := resp.Header.Get("Retry-After"); (again != "") != (resp.StatusCode == http.StatusServiceUnavailable) {
		t.Errorf("%d says when to come again: %q", resp.StatusCode, again)
	}
	return resp.StatusCode, answer
}

// pixels is a body with n pixels, each of the value v.
func pixels(n int, v string) string {
	return "[" + strings.TrimSuffix(strings.Repeat(v+",", n), ",") + "]"
}

// asked is what the function's client sends: the JSON in front and the values
// behind it.
type asked struct {
	Inputs []struct {
		Name, Datatype string
		Shape          []int
		Parameters     struct {
			Size int `json:"binary_data_size"`
		}
	}
	Parameters struct {
		Binary bool `json:"binary_data_output"`
	}
	values []float32
}

func readAsked(r *http.Request) (a asked, err error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return a, err
	}
	head, err := strconv.Atoi(r.Header.Get("Inference-Header-Content-Length"))
	if err != nil || head > len(body) {
		return a, fmt.Errorf("the JSON has %d of %d bytes: %v", head, len(body), err)
	}
	a.values = make([]float32, (len(body)-head)/4)
	if _, err := binary.Decode(body[head:], binary.LittleEndian, a.values); err != nil {
		return a, err
	}
	return a, json.Unmarshal(body[:head], &a)
}

// answerBinary answers with probabilities behind the JSON, as it was asked for.
func answerBinary(w http.ResponseWriter, probabilities ...float32) {
	head := fmt.Sprintf(`{"outputs":[{"name":"probabilities","datatype":"FP32","shape":[1,%d],"parameters":{"binary_data_size":%d}}]}`,
		len(probabilities), 4*len(probabilities))
	w.Header().Set("Inference-Header-Content-Length", strconv.Itoa(len(head)))
	io.WriteString(w, head)
	binary.Write(w, binary.LittleEndian, probabilities)
}

func TestPythonFunction(t *testing.T) {
	asJSON := false
	address := python(t, func(w http.ResponseWriter, r *http.Request) {
		a, err := readAsked(r)
		if err != nil || r.URL.Path != "/v2/models/digits/infer" || len(a.Inputs) != 1 || !a.Parameters.Binary ||
			a.Inputs[0].Name != "pixels" || a.Inputs[0].Datatype != "FP32" || a.Inputs[0].Parameters.Size != 256 ||
			r.Header.Get("X-Call-Id") != callID || fmt.Sprint(a.Inputs[0].Shape) != "[1 1 8 8]" || len(a.values) != 64 || a.values[63] == 0 {
			http.Error(w, fmt.Sprintf("%s: %+v, %v", r.URL.Path, a, err), 400)
			return
		}
		if asJSON {
			io.WriteString(w, `{"outputs":[{"name":"probabilities","datatype":"FP32","shape":[1,3],"data":[0.25,0.5,0.25]}]}`)
		} else {
			answerBinary(w, 0.25, 0.5, 0.25)
		}
		asJSON = !asJSON
	})
	for name, body := range map[string]string{
		"array":  pixels(64, "16"),
		"object": `{"pixels":` + pixels(64, "0.5") + `}`,
	} {
		status, answer := post(t, address, body)
		if status != 200 || answer["class"] != 1.0 || fmt.Sprint(answer["probabilities"]) != "[0.25 0.5 0.25]" {
			t.Errorf("%s: %d %v", name, status, answer)
		}
	}
	for name, body := range map[string]string{
		"nothing":      "",
		"text":         "seven",
		"too few":      pixels(63, "1"),
		"too much ink": pixels(64, "17"),
		"not numbers":  pixels(64, `"a"`),
		"NaN":          pixels(64, "NaN"),
		"a number":     "3",
	} {
		status, answer := post(t, address, body)
		if text, _ := answer["error"].(string); status != 400 || !strings.Contains(text, "64 pixels") {
			t.Errorf("%s: %d %v", name, status, answer)
		}
	}
}

func TestPythonFunctionWithoutItsModel(t *testing.T) {
	for answered, c := range map[int]struct {
		status int
		want   string
	}{
		http.StatusServiceUnavailable: {503, "the device is lost"},
		http.StatusGatewayTimeout:     {503, "the device is lost"},
		// Another try would not help: the handler is wrong, or the input.
		http.StatusNotFound:   {500, "RuntimeError"},
		http.StatusBadRequest: {400, "the device is lost"},
	} {
		address := python(t, func(w http.ResponseWriter, r *http.Request) {
			http.Error(w, `{"error":"the device is lost"}`, answered)
		})
		status, answer := post(t, address, pixels(64, "1"))
		if text, _ := answer["error"].(string); status != c.status || !strings.Contains(text, c.want) {
			t.Errorf("%d: %d %v", answered, status, answer)
		}
	}
}

// A connection that the watchdog has closed meanwhile costs no request.
func TestPythonFunctionWhoseConnectionWasClosed(t *testing.T) {
	requests := 0
	address := python(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		if requests++; requests == 2 {
			panic(http.ErrAbortHandler)
		}
		answerBinary(w, 0.25, 0.75)
	})
	for range 2 { // over one connection, which is one thread there
		if status, answer := post(t, address, pixels(64, "1")); status != 200 || answer["class"] != 1.0 {
			t.Errorf("%d %v", status, answer)
		}
	}
	if requests != 3 {
		t.Errorf("%d requests came", requests)
	}
}

// A handler that fails is answered for.
func TestPythonFunctionThatFails(t *testing.T) {
	address := python(t, func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, `{"outputs":[]}`)
	})
	status, answer := post(t, address, pixels(64, "1"))
	if text, _ := answer["error"].(string); status != 500 || !strings.Contains(text, "KeyError") {
		t.Errorf("%d %v", status, answer)
	}
}

// The files that faas-cli reads must be where it looks for them.
func TestTemplatesAreComplete(t *testing.T) {
	for _, name := range []string{"go-trt", "python-trt", "trt-model"} {
		for _, file := range []string{"template.yml", "Dockerfile", "process.yaml", "README.md", "function"} {
			if _, err := os.Stat(name + "/" + file); err != nil {
				t.Error(err)
			}
		}
		f, err := os.Open(name + "/template.yml")
		if err != nil {
			t.Fatal(err)
		}
		first, _ := bufio.NewReader(f).ReadString('\n')
		f.Close()
		if first != "language: "+name+"\n" {
			t.Errorf("%s/template.yml begins with %q", name, first)
		}
	}
}
