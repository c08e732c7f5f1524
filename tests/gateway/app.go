// The app behind the proxy in test_proxy.py: one handler for each thing that a proxy can spoil.
package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sort"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

const page = "<!doctype html><p>hello</p></html>\n"

var cancelled, panicked, waiting atomic.Int64

func echo(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	fmt.Fprintf(w, "%s %q %s host %q\n", r.Method, r.RequestURI, r.Proto, r.Host)
	names := []string{}
	for name := range r.Header {
		if !strings.HasPrefix(name, "X-Forwarded-") {
			names = append(names, name)
		}
	}
	sort.Strings(names)
	for _, name := range names {
		fmt.Fprintf(w, "%s: %q\n", name, r.Header[name])
	}
	fmt.Fprintf(w, "%d %v %q trailer %v error %v\n", r.ContentLength, r.TransferEncoding, body, r.Trailer, err)
}

// Sends an event for each line that arrives, so whoever buffers either way stops it.
func events(w http.ResponseWriter, r *http.Request) {
	control := http.NewResponseController(w)
	control.EnableFullDuplex()
	w.Header().Set("Content-Type", "text/event-stream")
	control.Flush()
	for lines := bufio.NewScanner(r.Body); lines.Scan(); control.Flush() {
		fmt.Fprintf(w, "data: %s\n\n", lines.Text())
	}
}

// Waits until the client is gone; ?first=1 sends a first event before.
func wait(w http.ResponseWriter, r *http.Request) {
	if r.FormValue("first") != "" {
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprint(w, "data: first\n\n")
		http.NewResponseController(w).Flush()
	}
	waiting.Add(1)
	<-r.Context().Done()
	waiting.Add(-1)
	cancelled.Add(1)
}

func early(w http.ResponseWriter, r *http.Request) {
	http.NewResponseController(w).EnableFullDuplex()
	w.Header().Set("Content-Length", "5")
	fmt.Fprint(w, "early")
	http.NewResponseController(w).Flush()
	io.Copy(io.Discard, r.Body)
}

func hijack(w http.ResponseWriter, answer string) (net.Conn, *bufio.ReadWriter) {
	connection, stream, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(err)
	}
	io.WriteString(connection, answer)
	return connection, stream
}

func raw(answer string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		connection, _ := hijack(w, answer)
		connection.Close()
	}
}

// Sends back what it gets until the client ends, then one word: the other half of the connection still works.
func upgrade(w http.ResponseWriter, r *http.Request) {
	answer := "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: " + r.Header.Get("Upgrade") + "\r\n\r\n"
	if r.Method == "CONNECT" {
		answer = "HTTP/1.1 200 OK\r\n\r\n"
	}
	connection, stream := hijack(w, answer)
	io.Copy(connection, stream)
	io.WriteString(connection, "bye")
	connection.Close()
}

func frame(opcode byte, payload []byte) []byte {
	head := []byte{0x80 | opcode}
	switch n := len(payload); {
	case n < 126:
		head = append(head, byte(n))
	case n < 1<<16:
		head = binary.BigEndian.AppendUint16(append(head, 126), uint16(n))
	default:
		head = binary.BigEndian.AppendUint64(append(head, 127), uint64(n))
	}
	return append(head, payload...)
}

// WebSocket (RFC 6455): echoes messages, answers pings, returns the close code.
func socket(w http.ResponseWriter, r *http.Request) {
	sum := sha1.Sum([]byte(r.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	protocol, _, _ := strings.Cut(r.Header.Get("Sec-WebSocket-Protocol"), ",")
	extensions := ""
	if asked := r.Header.Get("Sec-WebSocket-Extensions"); asked != "" {
		extensions = "Sec-WebSocket-Extensions: " + asked + "\r\n"
	}
	connection, stream := hijack(w, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+extensions+
		"Sec-WebSocket-Accept: "+base64.StdEncoding.EncodeToString(sum[:])+"\r\nSec-WebSocket-Protocol: "+protocol+"\r\n\r\n")
	defer connection.Close()
	for {
		head := make([]byte, 2)
		if _, err := io.ReadFull(stream, head); err != nil {
			return
		}
		size := uint64(head[1] & 0x7f)
		if size > 125 {
			more := make([]byte, 8)
			io.ReadFull(stream, more[map[uint64]int{126: 6, 127: 0}[size]:])
			size = binary.BigEndian.Uint64(more)
		}
		payload := make([]byte, 4+size)
		io.ReadFull(stream, payload)
		mask, payload := payload[:4], payload[4:]
		for i := range payload {
			payload[i] ^= mask[i%4]
		}
		opcode := head[0] & 0xf
		if opcode == 9 {
			opcode = 10
		}
		connection.Write(frame(opcode|head[0]&0x40, payload)) // compressed as it came (RFC 7692)
		if opcode == 8 {
			return
		}
	}
}

func html(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	switch r.FormValue("framing") {
	case "length":
		w.Header().Set("Content-Length", strconv.Itoa(len(page)))
		io.WriteString(w, page)
	case "chunked":
		for _, line := range strings.SplitAfter(page, ">") {
			io.WriteString(w, line)
			http.NewResponseController(w).Flush()
		}
	case "close":
		connection, _ := hijack(w, "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n"+page)
		connection.Close()
	case "gzip":
		w.Header().Set("Content-Encoding", "gzip")
		compressed := gzip.NewWriter(w)
		io.WriteString(compressed, page)
		compressed.Close()
	case "partial":
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader(page))
	}
}

func main() {
	http.HandleFunc("/", echo)
	http.HandleFunc("/events", events)
	http.HandleFunc("/wait", wait)
	http.HandleFunc("/early", early)
	http.HandleFunc("/upgrade", upgrade)
	http.HandleFunc("/socket", socket)
	http.HandleFunc("/html", html)
	http.HandleFunc("/extensions", raw("HTTP/1.1 200 OK\r\nServer:  odd \r\nserver: twice\r\nTransfer-Encoding: chunked\r\n\r\n"+
		"5;a=\"b c\";d\r\nhello\r\n0;last\r\nDigest: x\r\n\r\n"))
	http.HandleFunc("/old", raw("HTTP/1.0 200 Fine\nX: y\n\nuntil the end"))
	http.HandleFunc("/cut/length", raw("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello"))
	http.HandleFunc("/cut/chunk", raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\nhello"))
	http.HandleFunc("/cut/head", raw("HTTP/1.1 200 OK\r\nContent-"))
	http.HandleFunc("/nonsense", raw("hello\r\n\r\n"))
	http.HandleFunc("/smuggle", raw("HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"))
	http.HandleFunc("/panic", func(http.ResponseWriter, *http.Request) {
		panicked.Add(1)
		panic(http.ErrAbortHandler)
	})
	http.HandleFunc("/exit", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(io.LimitReader(r.Body, 5))
		if os.Getenv("LAUNCH") == "1" {
			os.Exit(3)
		}
		fmt.Fprintf(w, "survived%s", body)
	})
	http.HandleFunc("/launch", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, os.Getenv("LAUNCH")) })
	http.HandleFunc("/close", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Connection", "close")
		fmt.Fprint(w, "last")
	})
	http.HandleFunc("/forwarded", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%q %q %q", r.Header["X-Forwarded-For"], r.Header["X-Forwarded-Host"], r.Header["X-Forwarded-Proto"])
	})
	http.HandleFunc("/redirect", func(w http.ResponseWriter, r *http.Request) {
		_, port, _ := net.SplitHostPort(r.Context().Value(http.LocalAddrContextKey).(net.Addr).String())
		w.Header().Set("Location", strings.ReplaceAll(r.FormValue("to"), "PORT", port))
		w.WriteHeader(307)
	})
	http.HandleFunc("/trailers", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "Digest")
		io.Copy(w, r.Body)
		w.Header().Set("Digest", "sum")
		w.Header().Set(http.TrailerPrefix+"Late", fmt.Sprint(r.Trailer))
	})
	http.HandleFunc("/hints", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Link", "</a.css>; rel=preload")
		w.WriteHeader(103)
		w.WriteHeader(103)
		fmt.Fprint(w, "done")
	})
	http.HandleFunc("/status", func(w http.ResponseWriter, r *http.Request) {
		code, _ := strconv.Atoi(r.FormValue("code"))
		w.WriteHeader(code)
	})
	http.HandleFunc("/range", func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "a.txt", time.Unix(1e9, 0), strings.NewReader("0123456789"))
	})
	http.HandleFunc("/gzip", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		compressed := gzip.NewWriter(w)
		compressed.Write(bytes.Repeat([]byte("hello "), 1000))
		compressed.Close()
	})
	http.HandleFunc("/limit", func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1000)); err != nil {
			http.Error(w, "too much", 413)
		}
	})
	http.HandleFunc("/refuse", func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(417)
	})
	http.HandleFunc("/upload", func(w http.ResponseWriter, r *http.Request) {
		sum := sha256.New()
		size, err := io.Copy(sum, r.Body)
		fmt.Fprintln(w, size, hex.EncodeToString(sum.Sum(nil)), err)
	})
	http.HandleFunc("/download", func(w http.ResponseWriter, r *http.Request) {
		left, _ := strconv.Atoi(r.FormValue("size"))
		for block := make([]byte, 1<<20); left > 0; left -= len(block) {
			w.Write(block[:min(left, len(block))])
		}
	})
	http.HandleFunc("/counts", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "%d %d %d", waiting.Load(), cancelled.Load(), panicked.Load())
	})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	server := &http.Server{Protocols: new(http.Protocols)}
	server.Protocols.SetHTTP1(true)
	server.Protocols.SetUnencryptedHTTP2(true)
	server.Serve(listener)
}
