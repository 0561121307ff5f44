package lab

import (
	"os"
	"os/exec"
	"testing"
)

func TestSharedMemoryCountsOnce(t *testing.T) {
	// A shell and its child, which is a copy of it, share nearly all that they have.
	p := &Process{program: "sh"}
	p.cmd = exec.Command("sh", "-c", "exec 3<&0; (read wait <&3; true) & echo; wait")
	p.cmd.Stderr = os.Stderr
	in, err := p.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer p.cmd.Wait()
	defer in.Close()
	if _, err := out.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	children, err := p.children()
	if err != nil || len(children) != 1 {
		t.Fatalf("children %v, %v", children, err)
	}
	var each []int64
	for _, pid := range []int{p.PID(), children[0]} {
		rss, err := RSS(pid)
		if err != nil {
			t.Fatal(err)
		}
		each = append(each, rss)
	}
	both, err := p.RSS()
	if err != nil {
		t.Fatal(err)
	}
	if both < max(each[0], each[1]) || both >= each[0]+each[1] {
		t.Errorf("both have %d bytes, each %v", both, each)
	}
}
