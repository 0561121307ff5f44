package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os/exec"
	"strings"
)

// cli runs faas-cli as a person does who has sourced the stack's env file.
type cli struct {
	program string
	envFile string
	dir     string
	environ []string
	out     io.Writer // for the person who watches
	log     io.Writer // everything
}

// all shows every line of a command's output.
func all(string) bool { return true }

// none shows nothing.
func none(string) bool { return false }

// containing shows the lines that have one of these words.
func containing(words ...string) func(string) bool {
	return func(line string) bool {
		for _, w := range words {
			if strings.Contains(line, w) {
				return true
			}
		}
		return false
	}
}

// run runs faas-cli with the words of args, prints the command and those lines of
// its output that show picks, and returns the output. An argument has no spaces.
func (c *cli) run(ctx context.Context, show func(string) bool, args string) (string, error) {
	return c.runWith(ctx, show, args, "", nil)
}

// runWith is run with a file on standard input; typed is how that is typed.
func (c *cli) runWith(ctx context.Context, show func(string) bool, args, typed string, stdin []byte) (string, error) {
	fmt.Fprintf(c.out, "$ faas-cli %s\n", strings.TrimSpace(args+" "+typed))
	words := append([]string{"-c", `. "$0" && exec "$@"`, c.envFile, c.program}, strings.Fields(args)...)
	cmd := exec.CommandContext(ctx, "sh", words...)
	cmd.Dir = c.dir
	cmd.Env = c.environ
	cmd.Stdin = bytes.NewReader(stdin)
	output, err := cmd.CombinedOutput()
	fmt.Fprintf(c.log, "$ faas-cli %s %s\n%s\n", args, typed, output)
	if err != nil {
		return "", fmt.Errorf("faas-cli %s: %w:\n%s", args, err, bytes.TrimSpace(output))
	}
	for line := range strings.Lines(string(output)) {
		if line = strings.TrimRight(line, "\n"); strings.TrimSpace(line) != "" && show(line) {
			fmt.Fprintln(c.out, "  "+line)
		}
	}
	return string(output), nil
}

// env is a variable that the env file sets.
func (c *cli) env(ctx context.Context, name string) (string, error) {
	out, err := exec.CommandContext(ctx, "sh", "-c", `. "$0" && printf %s "${`+name+`:?}"`, c.envFile).Output()
	if err != nil {
		return "", fmt.Errorf("%s in %s: %w", name, c.envFile, err)
	}
	return string(out), nil
}
