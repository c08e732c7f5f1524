// Package handlers answers the requests. Edit Greeting, save, and ask again.
package handlers

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

// Greeting is what the front page says.
const Greeting = "Hello from net/http"

// Register puts the routes on a router.
func Register(router *http.ServeMux) {
	router.HandleFunc("GET /{$}", front)
	router.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	router.HandleFunc("GET /api/time", now)
}

func front(w http.ResponseWriter, _ *http.Request) {
	fmt.Fprintln(w, Greeting)
}

func now(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(map[string]string{"time": time.Now().Format(time.RFC3339)})
}
