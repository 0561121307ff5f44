package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"

	"github.com/faas-gpu/faas-gpu/cachemgr/api"
	"github.com/faas-gpu/faas-gpu/cachemgr/api/oip"
	"github.com/faas-gpu/faas-gpu/cachemgr/api/shm"
	"github.com/faas-gpu/faas-gpu/cachemgr/api/tensor"
	"github.com/faas-gpu/faas-gpu/stack/lab"
)

// sharing is a subject's input and output in memory that the cache manager shares.
type sharing struct {
	subject *subject
	conn    *shm.Conn
	memory  *shm.Memory
	region  string
}

func newSharing(ctx context.Context, l *lab.Lab, s *subject) (*sharing, error) {
	token, err := l.Token(s.name)
	if err != nil {
		return nil, err
	}
	out := &sharing{subject: s}
	if out.conn, err = shm.Dial(ctx, filepath.Join(filepath.Dir(l.Socket), api.SocketShm), token); err != nil {
		return nil, err
	}
	if out.memory, err = shm.New(int64(2 * len(s.data))); err != nil {
		return nil, errors.Join(err, out.conn.Close())
	}
	if out.region, err = out.conn.Register(out.memory); err != nil {
		return nil, errors.Join(err, out.close())
	}
	copy(out.memory.Data, s.data)
	return out, nil
}

func (s *sharing) close() error { return errors.Join(s.conn.Close(), s.memory.Close()) }

// paths are an inference in shared memory, and an echo of what of it goes over the
// socket.
func (s *sharing) paths(l *lab.Lab, echo string, want []byte) ([]*path, error) {
	token, err := l.Token(s.subject.name)
	if err != nil {
		return nil, err
	}
	size := int64(len(s.subject.data))
	message, err := oip.NewCodec(1<<20).EncodeRequest(&oip.Request{
		Inputs:  []tensor.Tensor{{Name: s.subject.input, Datatype: tensor.FP32, Shape: s.subject.shape}},
		Places:  []oip.Place{{Region: s.region, Size: size}},
		Outputs: []oip.Output{{Name: s.subject.output, Place: oip.Place{Region: s.region, Offset: size, Size: size}}},
	}, true)
	if err != nil {
		return nil, err
	}
	defer message.Release()
	var body bytes.Buffer
	if _, err := message.WriteTo(&body); err != nil {
		return nil, err
	}
	output := s.memory.Data[size:][:len(want)]
	verify := func() error {
		if !bytes.Equal(output, want) {
			return fmt.Errorf("wrong output in shared memory")
		}
		clear(output) // the next one is to be seen
		return nil
	}
	header := http.Header{"Content-Type": {oip.ContentJSON}, "Authorization": {"Bearer " + token}}
	infer := "http://unix/v2/models/" + s.subject.name + "/infer"
	return []*path{
		{name: "shared", client: dial(l.Socket), url: infer, header: header, body: body.Bytes(), verify: verify},
		{name: "header_echo", client: dial(echo), url: infer, header: header, body: body.Bytes()},
	}, nil
}
