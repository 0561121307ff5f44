// The command bench measures the stack with its real programs on loopback. Each
// benchmark prints what it does, and as its last line one JSON object.
//
//	go run ./stack/bench node    what a request costs beside the engine's own time
//	go run ./stack/bench churn   swapping under load and SIGKILL: outputs, bytes, memory
//	go run ./stack/bench sched   what a decision of each scheduling policy costs
//	go run ./stack/bench evict   bytes that each order of eviction keeps in reach
//	go run ./stack/bench sim     the policies on simulated devices
//	go run ./stack/bench replay  the same workloads on real nodes, beside the simulator
//	go run ./stack/bench plot    the figures of docs/evaluation, from the data there
//	go run ./stack/bench gpu     plans on a GPU, through the cache manager; see gpu.sh
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/faas-gpu/faas-gpu/stack/bench/function"
	"github.com/faas-gpu/faas-gpu/watchdog"
)

// benchmark runs and returns the figures for its last line.
type benchmark func(ctx context.Context, args []string) (any, error)

func main() {
	benchmarks := map[string]benchmark{"node": node, "churn": churn, "sched": schedBench, "evict": evict, "sim": simBench, "replay": replay, "plot": plots, "gpu": gpuBench}
	if len(os.Args) == 3 && os.Args[1] == echoCommand {
		if err := serveEcho(os.Args[2]); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
			os.Exit(1)
		}
		return
	}
	if len(os.Args) == 5 && os.Args[1] == planCommand {
		if err := servePlan(context.Background(), os.Args[2], os.Args[3], os.Args[4]); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
			os.Exit(1)
		}
		return
	}
	if os.Getenv(functionVariable) != "" {
		os.Exit(watchdog.Main(function.Handle))
	}
	run := benchmark(nil)
	if len(os.Args) > 1 {
		run = benchmarks[os.Args[1]]
	}
	if run == nil {
		fmt.Fprintln(os.Stderr, "usage: go run ./stack/bench node|churn|sched|evict|sim|replay|plot|gpu [-h]")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	figures, err := run(ctx, os.Args[2:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	line, err := json.Marshal(figures)
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	fmt.Println(string(line))
}
