// A Gin server to begin with.
package main

import (
	"context"
	"errors"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/gin-gonic/gin"

	"example.com/starter/handlers"
)

func main() {
	// Ctrl-C, or a reload: both end ctx.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()

	router := gin.Default()
	handlers.Register(router)

	listener, err := listen()
	if err != nil {
		log.Fatal(err)
	}
	log.Printf("listening on %s", listener.Addr())
	server := &http.Server{Handler: router, ReadHeaderTimeout: 10 * time.Second}
	go func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			log.Fatal(err)
		}
	}()

	<-ctx.Done()
	stop() // a second Ctrl-C does not wait
	patience, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	if err := server.Shutdown(patience); err != nil {
		log.Print(err)
	}
}

// listen takes the socket that a supervisor holds open for us (LISTEN_FDS), or opens PORT.
// Where nothing is to be done before the end, router.RunFd(3) takes it too.
func listen() (net.Listener, error) {
	if os.Getenv("LISTEN_FDS") == "1" {
		inherited := os.NewFile(3, "inherited socket")
		defer inherited.Close() // the listener has a descriptor of its own
		return net.FileListener(inherited)
	}
	port := os.Getenv("PORT")
	if port == "" {
		port = "8080"
	}
	return net.Listen("tcp", ":"+port)
}
