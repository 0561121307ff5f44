package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/openfaas/faas-provider/logs"
	"github.com/openfaas/faas-provider/types"

	"github.com/faas-gpu/faas-gpu/stack/lab"
)

// TestStreams sends events through provider and watchdog while the request is
// still being sent, and wants a client that leaves to be known to the function.
func TestStreams(t *testing.T) {
	l := start(t, lab.Options{})
	build(t, l, "streams", "go-trt", "stack/e2e/testdata/streams", nil)
	deploy(t, l, types.FunctionDeployment{Service: "streams", Image: "streams"})

	t.Run("both ways", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		body, questions := io.Pipe()
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, l.URL+"/function/streams", body)
		must(t, err)
		resp, err := http.DefaultClient.Do(req)
		must(t, err)
		defer resp.Body.Close()
		answers := bufio.NewReader(resp.Body)
		for _, word := range []string{"one", "two", "three"} {
			fmt.Fprintln(questions, word)
			event, err := answers.ReadString('\n')
			if err != nil || event != "data: "+word+"\n" {
				t.Fatalf("got %q, %v", event, err)
			}
			answers.ReadString('\n')
		}
		questions.Close()
		if rest, err := io.ReadAll(answers); len(rest) > 0 || err != nil {
			t.Errorf("then %q, %v", rest, err)
		}
	})

	t.Run("a client that leaves", func(t *testing.T) {
		ctx, leave := context.WithCancel(t.Context())
		left := make(chan error, 1)
		go func() {
			req, err := http.NewRequestWithContext(ctx, http.MethodPost, l.URL+"/function/streams/wait", strings.NewReader("x"))
			if err == nil {
				_, err = http.DefaultClient.Do(req)
			}
			left <- err
		}()
		within(t, 10*time.Second, func() error { return wantLogged(t, l, "streams", "waits") })
		leave()
		if err := <-left; !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		within(t, 10*time.Second, func() error { return wantLogged(t, l, "streams", "the client has gone") })
	})
}

// wantLogged wants a line in the logs of a function.
func wantLogged(t *testing.T, l *lab.Lab, name, text string) error {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, l.URL+"/system/logs?follow=false&name="+name, nil)
	must(t, err)
	req.SetBasicAuth(l.User, l.Password)
	resp, err := http.DefaultClient.Do(req)
	must(t, err)
	defer resp.Body.Close()
	var all bytes.Buffer
	for lines := json.NewDecoder(io.TeeReader(resp.Body, &all)); ; {
		var m logs.Message
		if err := lines.Decode(&m); err != nil {
			return fmt.Errorf("%q is not in the logs (%w):\n%s", text, err, all.Bytes())
		}
		if m.Text == text {
			return nil
		}
	}
}

// TestScaleToZeroAndWake scales a function to zero, which a request undoes, and
// to two replicas.
func TestScaleToZeroAndWake(t *testing.T) {
	l := start(t, lab.Options{})
	deployDigits(t, l)
	await := func(replicas uint64) {
		t.Helper()
		within(t, 20*time.Second, func() error {
			var s types.FunctionStatus
			err := l.System(t.Context(), http.MethodGet, "/system/function/digits", nil, &s)
			if err == nil && (s.Replicas != replicas || s.AvailableReplicas != replicas) {
				err = fmt.Errorf("%d replicas are wanted, %d available", s.Replicas, s.AvailableReplicas)
			}
			return err
		})
	}
	scale := func(replicas uint64) {
		t.Helper()
		must(t, l.System(t.Context(), http.MethodPost, "/system/scale-function/digits",
			types.ScaleServiceRequest{ServiceName: "digits", Namespace: lab.Namespace, Replicas: replicas}, nil))
		await(replicas)
	}
	scale(0)
	wantDigit(t, l, "digits") // with no try again: the request waits for the replica
	await(1)
	scale(2)
	scale(1)
	wantDigit(t, l, "digits")
}
