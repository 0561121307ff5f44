// Package function is one of the end-to-end tests: it answers while it is asked.
package function

import (
	"bufio"
	"fmt"
	"io"
	"log"
	"net/http"
)

// Handle answers each line of the request with an event as soon as it comes; at
// /wait it waits until the client has gone.
func Handle(w http.ResponseWriter, r *http.Request) {
	rc := http.NewResponseController(w)
	if r.URL.Path == "/wait" {
		io.Copy(io.Discard, r.Body) // net/http looks after a client that has sent all
		log.Print("waits")
		<-r.Context().Done()
		log.Print("the client has gone")
		return
	}
	if err := rc.EnableFullDuplex(); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	rc.Flush()
	for lines := bufio.NewScanner(r.Body); lines.Scan(); {
		fmt.Fprintf(w, "data: %s\n\n", lines.Text())
		rc.Flush()
	}
}
