package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/faas-gpu/faas-gpu/stack/lab"
)

// gpuStartup measures how long it takes until a model answers: in a process that
// starts, and after the cache manager was killed or has lost its device.
func gpuStartup(ctx context.Context, o gpuOptions) (any, error) {
	paths, err := o.planFiles()
	if err != nil {
		return nil, err
	}
	paths = paths[:1]
	fmt.Println("start an engine")
	p, err := probePlan(ctx, o, paths[0])
	if err != nil {
		return nil, err
	}
	io, err := newIOSpec(p.spec)
	if err != nil {
		return nil, err
	}
	figures := o.figures()
	figures["engine_ms"] = millis(p.open) // library, context
	figures["first_load_ms"] = millis(p.load)
	figures["first_run_ms"] = millis(p.run)
	figures["next_run_ms"] = millis(p.again)
	s := &startupBench{gpuOptions: o, paths: paths, probe: p, io: io, figures: figures}
	if err := s.kills(ctx); err != nil {
		return nil, err
	}
	if err := s.losses(ctx); err != nil {
		figures["device_lost_problem"] = fmt.Sprintf("%.300s", err) // the other figures are good all the same
	}
	return figures, nil
}

func millis(d time.Duration) float64 { return to2(d.Seconds() * 1e3) }

type startupBench struct {
	gpuOptions
	paths   []string
	probe   probe
	io      ioSpec
	figures map[string]any
}

// answer asks until the model's right output comes back, and returns how long that
// took since began.
func (s *startupBench) answer(ctx context.Context, n *gpuNode, began time.Time) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	var took time.Duration
	err := lab.Poll(ctx, func() error {
		if err := n.offerAgain(ctx); err != nil {
			return err
		}
		c, err := newCaller(ctx, n, n.functions[0], s.io, s.shared)
		if err != nil {
			return err
		}
		defer c.close()
		out, _, err := c.infer(ctx, n.functions[0].offer.Models[0].Name, s.io)
		if err != nil {
			return err
		}
		took = time.Since(began)
		if !bytes.Equal(out, s.probe.output) {
			return lab.Final(errors.New("the output is wrong"))
		}
		return nil
	})
	return took, err
}

// kills ends the cache manager with SIGKILL and starts it at once, as a supervisor
// does.
func (s *startupBench) kills(ctx context.Context) (err error) {
	const kills = 5
	fmt.Printf("start the cache manager, kill it %d times\n", kills)
	began := time.Now()
	n, err := s.node(ctx, s.settings)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(n.fail(err), n.close()) }()
	first, err := s.answer(ctx, n, began)
	if err != nil {
		return err
	}
	s.figures["start_to_first_answer_ms"] = millis(first)
	var took []float64
	for range kills {
		began := time.Now()
		if err := n.process.Kill(); err != nil {
			return err
		}
		if err := n.process.Restart(ctx); err != nil {
			return err
		}
		d, err := s.answer(ctx, n, began)
		if err != nil {
			return err
		}
		took = append(took, d.Seconds()*1e3)
	}
	s.figures["kill_to_first_answer_ms"] = quantiles(took)
	return nil
}

func (s *startupBench) node(ctx context.Context, settings string) (*gpuNode, error) {
	o := s.gpuOptions
	o.settings = settings
	n, err := startNode(ctx, o, s.probe.budget(2),
		"host_budget="+strconv.FormatInt(2*(s.probe.cost.Host+1<<20), 10), "restart_pause=1ms")
	if err != nil {
		return nil, err
	}
	if _, err := n.offer(ctx, s.paths); err != nil {
		return nil, errors.Join(n.fail(err), n.close())
	}
	return n, nil
}

// losses has the device lost, which only the double can do when it is asked to.
func (s *startupBench) losses(ctx context.Context) (err error) {
	if !strings.Contains(s.library, "double") {
		s.figures["device_lost"] = "not measured: a GPU cannot be lost on purpose, see the driver double"
		return nil
	}
	fmt.Println("lose the device")
	const fault = "fault=launch:40:2" // the 40th launch, and everything after it
	n, err := s.node(ctx, strings.TrimPrefix(s.settings+";"+fault, ";"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(n.fail(err), n.close()) }()
	c, err := newCaller(ctx, n, n.functions[0], s.io, s.shared)
	if err != nil {
		return err
	}
	defer c.close()
	for range 100 {
		out, _, err := c.infer(ctx, n.functions[0].offer.Models[0].Name, s.io)
		if err == nil && !bytes.Equal(out, s.probe.output) {
			return errors.New("the output is wrong")
		}
		if err == nil {
			continue
		}
		s.figures["device_lost_error"] = fmt.Sprintf("%.200s", err)
		took, err := s.comeBack(ctx, n, time.Now())
		s.figures["device_lost_to_first_answer_ms"] = millis(took)
		return err
	}
	return errors.New("the device was not lost")
}

// comeBack starts the cache manager again where it does not do so itself.
func (s *startupBench) comeBack(ctx context.Context, n *gpuNode, began time.Time) (time.Duration, error) {
	const patience = 10 * time.Second
	soon, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if took, err := s.answer(soon, n, began); err == nil {
		return took, nil
	}
	if err := n.process.Alive(); err == nil {
		return 0, errors.New("it neither answers nor ends")
	}
	if err := n.process.Restart(ctx); err != nil {
		return 0, err
	}
	return s.answer(ctx, n, began)
}
