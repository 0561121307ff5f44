package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// stackFile is what faas-cli calls the file that lists the functions.
const stackFile = "stack.yaml"

// demo is one run.
type demo struct {
	cfg config
	out io.Writer

	log       *os.File
	stack     *stack
	cli       *cli
	gateway   *gateway
	functions []*function

	tally    *tally
	rows     []row
	accuracy float64
}

func newDemo(cfg config, out io.Writer) *demo {
	return &demo{cfg: cfg, out: out, tally: newTally()}
}

// say prints what is done next.
func (d *demo) say(format string, args ...any) {
	fmt.Fprintf(d.out, "\n"+format+"\n", args...)
}

// run carries out all steps. The stack is stopped whatever happens; the result
// holds what is known by then.
func (d *demo) run(ctx context.Context) (res result, err error) {
	defer func() {
		if d.stack != nil {
			err = errors.Join(err, d.stack.stop())
		}
		if d.log != nil {
			err = errors.Join(err, d.log.Close())
		}
	}()
	for _, step := range []func(context.Context) error{
		d.prepare, d.start, d.make, d.deploy, d.look, d.recognise, d.wake, d.mix, d.logs, d.remove,
	} {
		if err := step(ctx); err != nil {
			return summarize(d.rows, d.tally, d.accuracy), err
		}
	}
	if err := d.stack.stop(); err != nil {
		return result{}, err
	}
	d.say("All functions are removed and the stack is stopped.\n")
	res = summarize(d.rows, d.tally, d.accuracy)
	return res, printTable(d.out, d.rows, d.tally)
}

// make scaffolds the functions.
func (d *demo) make(ctx context.Context) error {
	d.say("Making the functions: digits as the template brings it, and %d CNNs.", len(d.functions)-1)
	if _, err := d.cli.run(ctx, containing("Wrote"), "template pull "+d.cfg.source); err != nil {
		return err
	}
	for i, f := range d.functions {
		appendTo := ""
		if i > 0 {
			appendTo = " --append " + stackFile
		}
		if _, err := d.cli.run(ctx, none, "new --lang go-trt "+f.name+appendTo); err != nil {
			return err
		}
		if err := f.scaffold(filepath.Join(d.cli.dir, f.name), d.cfg.source); err != nil {
			return err
		}
	}
	fmt.Fprintln(d.out, "  The CNNs get examples/cnn/handler.go and a generated model each.")
	return nil
}

// deploy builds and deploys all functions, and waits until they are ready.
func (d *demo) deploy(ctx context.Context) error {
	d.say("Building and deploying.")
	if _, err := d.cli.run(ctx, all, "secret create demo-key --from-literal=not-so-secret"); err != nil {
		return err
	}
	if _, err := d.cli.run(ctx, containing("Model ", "Built ", "Deployed."), "up --skip-push"); err != nil {
		return err
	}
	for _, f := range d.functions {
		if _, err := d.cli.run(ctx, none, "ready --interval 200ms --attempts 300 "+f.name); err != nil {
			return err
		}
	}
	return nil
}

// look shows what is deployed.
func (d *demo) look(ctx context.Context) error {
	d.say("What is deployed.")
	list, err := d.cli.run(ctx, all, "list")
	if err != nil {
		return err
	}
	for _, f := range d.functions {
		if !strings.Contains(list, f.name) {
			return fmt.Errorf("faas-cli list does not show %s", f.name)
		}
	}
	_, err = d.cli.run(ctx, containing("Name", "Status", "Replicas", "Image", "URL"), "describe digits")
	return err
}

// recognise has digits look at every held-out scan, three of them with faas-cli.
func (d *demo) recognise(ctx context.Context) error {
	f := d.functions[0]
	d.say("Recognising %d handwritten digits that the model has not seen.", len(f.cases))
	right := 0
	for i := range f.cases {
		s := &f.cases[i]
		if i < 3 {
			typed := fmt.Sprintf("< %d.png  # a %d", i, s.label)
			out, err := d.cli.runWith(ctx, all, "invoke digits --content-type image/png", typed, s.body)
			if err != nil {
				return err
			}
			d.tally.verify(f, s, []byte(out))
		}
		r, err := d.gateway.invoke(ctx, f.name, s.body)
		if err != nil {
			return err
		}
		d.tally.add(f, s, r)
		got, err := parseDigit(r.body)
		if err != nil {
			return err
		}
		if got.Class == s.label {
			right++
		}
	}
	d.accuracy = float64(right) / float64(len(f.cases))
	fmt.Fprintf(d.out, "%d of %d are right: accuracy %.4f.\n", right, len(f.cases), d.accuracy)
	return nil
}

// wake measures the first answer of every function when none of its replicas
// runs.
func (d *demo) wake(ctx context.Context) error {
	d.say("Scaling every function to zero and calling it.")
	for _, f := range d.functions {
		if err := d.gateway.scaleToZero(ctx, f.name); err != nil {
			return err
		}
		s := &f.cases[0]
		r, err := d.gateway.invoke(ctx, f.name, s.body)
		if err != nil {
			return err
		}
		d.tally.add(f, s, r)
		d.rows = append(d.rows, row{function: f, coldStart: r.latency})
	}
	return nil
}

// mix calls all functions in a skewed mix, and then reads what the cache did.
func (d *demo) mix(ctx context.Context) error {
	d.say("Calling all functions in a skewed mix of %d requests from %d clients, each answer compared bit by bit.", d.cfg.requests, d.cfg.clients)
	began := time.Now()
	mix := newMix(d.functions, d.cfg.requests, d.cfg.seed)
	if err := send(ctx, d.gateway, mix, d.cfg.clients, d.tally); err != nil {
		return err
	}
	fmt.Fprintf(d.out, "%.0f requests/s, %d wrong outputs so far.\n", float64(len(mix))/time.Since(began).Seconds(), d.tally.wrong)

	var sum, budget int64
	for i := range d.rows {
		s, err := d.gateway.cache(ctx, d.rows[i].function.name)
		if err != nil {
			return err
		}
		if len(s.Models) != 1 || len(s.Devices) == 0 {
			return fmt.Errorf("%s has %d models on %d devices", d.rows[i].function.name, len(s.Models), len(s.Devices))
		}
		d.rows[i].bytes, d.rows[i].stats = s.Models[0].Bytes, s.Models[0].Stats
		sum += s.Models[0].Bytes
		budget = s.Devices[0].Budget
	}
	fmt.Fprintf(d.out, "The models need %.1f MiB together; the budget is %.1f MiB.\n", float64(sum)/(1<<20), float64(budget)/(1<<20))
	if sum <= budget {
		return errors.New("the models fit the cache together, so nothing had to be swapped")
	}
	return nil
}

// logs shows what digits wrote.
func (d *demo) logs(ctx context.Context) error {
	d.say("The end of what digits logged.")
	out, err := d.cli.run(ctx, all, "logs digits --lines 3 --tail=false")
	if err == nil && strings.TrimSpace(out) == "" {
		err = errors.New("faas-cli logs shows nothing")
	}
	return err
}

// remove removes everything that was deployed.
func (d *demo) remove(ctx context.Context) error {
	d.say("Removing everything.")
	if _, err := d.cli.run(ctx, none, "remove -f "+stackFile); err != nil {
		return err
	}
	if _, err := d.cli.run(ctx, all, "secret remove demo-key"); err != nil {
		return err
	}
	list, err := d.cli.run(ctx, none, "list")
	if err != nil {
		return err
	}
	for _, f := range d.functions {
		if strings.Contains(list, f.name) {
			return fmt.Errorf("faas-cli list still shows %s", f.name)
		}
	}
	return nil
}
