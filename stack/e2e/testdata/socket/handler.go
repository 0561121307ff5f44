// Package function is one of the end-to-end tests: a WebSocket that says back what
// it hears.
package function

import (
	"net/http"

	"github.com/gorilla/websocket"
)

// Handle answers with a WebSocket.
func Handle(w http.ResponseWriter, r *http.Request) {
	c, err := (&websocket.Upgrader{}).Upgrade(w, r, nil)
	if err != nil {
		return // the upgrader has answered
	}
	defer c.Close()
	for {
		kind, message, err := c.ReadMessage()
		if err != nil || c.WriteMessage(kind, message) != nil {
			return
		}
	}
}
