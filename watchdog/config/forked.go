package config

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/faas-gpu/faas-gpu/internal/env"
)

func declareForked(s *env.Set, c *Config) {
	c.Mode = s.OneOf("mode", ModeStreaming, "what answers requests: fprocess, started for each one, whose output is passed on as it comes, or when it has ended; the HTTP server that fprocess starts; the files in static_path; the function's only model",
		ModeStreaming, ModeSerializing, ModeHTTP, ModeStatic, ModeModel)
	command := s.String("fprocess", s.String("function_process", "", "same as fprocess"), "command that is started; its words are split at spaces, without a shell")
	upstream := s.String("upstream_url", s.String("http_upstream_url", "", "same as upstream_url"), "where the server of mode=http listens, such as http://127.0.0.1:5000; port 0: one is picked, and told to the command in upstream_url")
	c.BufferBody = s.Bool("http_buffer_req_body", s.Bool("buffer_http", false, "same as http_buffer_req_body"), "in mode=http, read a request's body of unknown length before it is passed on, so that it has a Content-Length")
	c.MaxBuffered = s.Bytes("max_buffered", 32<<20, "most bytes of a body that is read whole: with http_buffer_req_body, and of request (413) and answer (500) in mode=serializing")
	c.ContentType = s.String("content_type", "application/octet-stream", "Content-Type of what processes print, in mode=streaming and serializing")
	c.StaticPath = s.String("static_path", "/home/app/public", "folder of the files of mode=static")
	if c.MaxBuffered == 0 {
		s.Fail("max_buffered", "0 would refuse every body; give a size such as 32Mi")
	}
	if c.Mode == ModeStatic || c.Mode == ModeModel {
		return // an image may have an fprocess all the same
	}
	if c.Command = strings.Fields(command); len(c.Command) == 0 {
		s.Fail("fprocess", "is empty; give the command that mode=%s starts", c.Mode)
	}
	if c.Mode != ModeHTTP {
		return
	}
	var err error
	if c.Upstream, err = parseUpstream(upstream); err != nil {
		s.Fail("upstream_url", "%v", err)
	}
}

func parseUpstream(v string) (*url.URL, error) {
	if v == "" {
		return nil, errors.New("is empty; give the URL where the function's HTTP server listens, such as http://127.0.0.1:5000")
	}
	u, err := url.Parse(v)
	if err != nil || u.Scheme != "http" || u.Host == "" {
		return nil, fmt.Errorf("%q is not a URL such as http://127.0.0.1:5000", v)
	}
	return u, nil
}
