// Package handlers answers the requests. Edit Greeting, save, and ask again.
package handlers

import (
	"net/http"
	"time"

	"github.com/gin-gonic/gin"
)

// Greeting is what the front page says.
const Greeting = "Hello from Gin"

// Register puts the routes on a router.
func Register(router *gin.Engine) {
	router.GET("/", front)
	router.GET("/healthz", func(c *gin.Context) { c.Status(http.StatusOK) })
	router.GET("/api/time", now)
}

func front(c *gin.Context) {
	c.String(http.StatusOK, Greeting+"\n")
}

func now(c *gin.Context) {
	c.JSON(http.StatusOK, gin.H{"time": time.Now().Format(time.RFC3339)})
}
