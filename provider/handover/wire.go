package handover

import (
	"bufio"
	"fmt"
	"net"
	"time"
)

// What the two say to each other.
const (
	prepared = "prepared"
	release  = "release"
	released = "released"
	serve    = "serve"
	serving  = "serving"
	leave    = "leave"
)

const (
	// variable tells a child that it is one; its value is the version of the steps.
	variable = "FAAS_GPU_HANDOVER"
	version  = "1"
	// Descriptors that a child has.
	listenerFD = 3
	controlFD  = 4
	// sayTimeout is for the other side to take a word; it is there to listen.
	sayTimeout = 5 * time.Second
)

// line is one end of the socket that words go over.
type line struct {
	conn  net.Conn
	words chan string // closed when the other side has gone
	ended chan struct{}
}

func newLine(conn net.Conn) *line {
	l := &line{conn: conn, words: make(chan string), ended: make(chan struct{})}
	go l.read()
	return l
}

func (l *line) read() {
	defer close(l.words)
	for s := bufio.NewScanner(l.conn); s.Scan(); {
		select {
		case l.words <- s.Text():
		case <-l.ended:
			return
		}
	}
}

func (l *line) say(word string) error {
	l.conn.SetWriteDeadline(time.Now().Add(sayTimeout))
	if _, err := l.conn.Write([]byte(word + "\n")); err != nil {
		return fmt.Errorf("say %q: %w", word, err)
	}
	return nil
}

// close ends the line; it is called once.
func (l *line) close() {
	close(l.ended)
	l.conn.Close()
}
