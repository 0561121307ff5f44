// Package function is one of the tests with Docker: it tells what the test asks.
package function

import (
	"fmt"
	"log"
	"net/http"
	"os"
	"strconv"
	"time"
)

// Handle answers /secret with the secret "word", at /log logs numbered lines, and
// at /wait takes its time.
func Handle(w http.ResponseWriter, r *http.Request) {
	n, err := strconv.Atoi(r.URL.Query().Get("n"))
	if err != nil {
		n = 1
	}
	switch r.URL.Path {
	case "/secret":
		word, err := os.ReadFile("/var/openfaas/secrets/word")
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Write(word)
	case "/log":
		for i := range n {
			log.Printf("line %d", i)
		}
	case "/wait":
		time.Sleep(time.Duration(n) * time.Millisecond)
		fmt.Fprint(w, "waited")
	default:
		http.NotFound(w, r)
	}
}
