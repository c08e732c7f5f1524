// Hammer asks a server without mercy, and says when an answer is refused, cut, lost, or older than the last save that had
// returned before it was asked for.
//
// hammer ADDRESS FILE [CLIENTS [PAUSE [MOST]]]: so many clients (8) ask without a pause on a connection of their own, and
// one more asks at every PAUSE (2ms) on a new one, whatever became of the others, until MOST of them wait for an answer
// (no limit to speak of; a slow build would else be buried under questions). Each version newer than all before is a line when it is first seen, with
// the time; at the end of stdin what was found is one line of JSON.
//
// The saver and this program share a file: 8 bytes with the number of the last save that has returned, 8 with that of the
// last one begun, then one byte per number for what was saved (0: good, 1: does not compile, 2: crashes by itself).
package main

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

type report struct {
	mu       sync.Mutex
	newest   int64
	Asked    int // answers, whatever they were
	Refused  int // connections
	Cut      int // no answer on a connection that there was, or half of one
	Stale    int // answers by an older version
	Odd      int // answers with another status than expected
	Failed   int // answers with 503: it does not compile, or it crashed
	Lost     int // POSTs that a crashing app had been given
	Longest  float64
	Mistakes []string // the first of them
}

var (
	shared  []byte
	said    = report{newest: -1}
	address string
	pause   = 2 * time.Millisecond
	most    = 1 << 20
)

func main() {
	address = os.Args[1]
	file, err := os.OpenFile(os.Args[2], os.O_RDWR, 0)
	check(err)
	info, err := file.Stat()
	check(err)
	shared, err = syscall.Mmap(int(file.Fd()), 0, int(info.Size()), syscall.PROT_READ, syscall.MAP_SHARED)
	check(err)

	steadies := 8
	if len(os.Args) > 3 {
		steadies, err = strconv.Atoi(os.Args[3])
		check(err)
	}
	if len(os.Args) > 4 {
		pause, err = time.ParseDuration(os.Args[4])
		check(err)
	}
	if len(os.Args) > 5 {
		most, err = strconv.Atoi(os.Args[5])
		check(err)
	}

	over := make(chan struct{})
	var clients sync.WaitGroup
	for number := range steadies {
		clients.Go(func() { steady(over, number%2 == 1) })
	}
	clients.Go(func() { fresh(over) })
	io.Copy(io.Discard, os.Stdin) // until whoever started us has seen enough
	close(over)
	clients.Wait()
	check(json.NewEncoder(os.Stdout).Encode(&said))
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// steady asks on one connection, again and again without a pause.
func steady(over chan struct{}, post bool) {
	var connection net.Conn
	var reader *bufio.Reader
	for !done(over) {
		if connection == nil {
			var err error
			if connection, err = net.Dial("tcp", address); err != nil {
				mistake(&said.Refused, "refused: %v", err)
				time.Sleep(10 * time.Millisecond)
				continue
			}
			reader = bufio.NewReader(connection)
		}
		if !ask(connection, reader, post, true) {
			connection.Close()
			connection = nil
		}
	}
}

// fresh asks at every pause, each time on a connection of its own.
func fresh(over chan struct{}) {
	var under sync.WaitGroup
	room := make(chan struct{}, most)
	for !done(over) {
		room <- struct{}{}
		under.Go(func() {
			defer func() { <-room }()
			connection, err := net.Dial("tcp", address)
			if err != nil {
				mistake(&said.Refused, "refused: %v", err)
				return
			}
			defer connection.Close()
			ask(connection, bufio.NewReader(connection), false, false)
		})
		time.Sleep(pause)
	}
	under.Wait()
}

func done(over chan struct{}) bool {
	select {
	case <-over:
		return true
	default:
		return false
	}
}

// ask sends one request and judges its answer; false: the connection is of no more use.
func ask(connection net.Conn, reader *bufio.Reader, post, keep bool) bool {
	seen := binary.LittleEndian.Uint64(shared)
	began := time.Now()
	head := "GET / HTTP/1.1\r\nHost: localhost\r\n"
	if post {
		head = "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n"
	}
	if !keep {
		head += "Connection: close\r\n"
	}
	head += "\r\n"
	if post {
		head += "hello"
	}
	if _, err := io.WriteString(connection, head); err != nil {
		mistake(&said.Cut, "after save %d: cannot send: %v", seen, err)
		return false
	}
	answer, err := http.ReadResponse(reader, nil)
	if err != nil {
		mistake(&said.Cut, "after save %d: no answer: %v", seen, err)
		return false
	}
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		mistake(&said.Cut, "after save %d: half an answer: %v", seen, err)
		return false
	}
	judge(seen, post, answer.StatusCode, strings.TrimSpace(string(body)), time.Since(began))
	return keep && !answer.Close
}

func judge(seen uint64, post bool, status int, body string, took time.Duration) {
	said.mu.Lock()
	said.Asked++
	said.Longest = max(said.Longest, took.Seconds())
	said.mu.Unlock()
	switch {
	case status == 200:
		version, err := strconv.ParseUint(body, 10, 64)
		if err == nil {
			see(int64(version))
		}
		if err != nil || version < seen {
			mistake(&said.Stale, "after save %d: answered by %q", seen, body)
		}
	case status == 503 && saved(seen, 1, 2):
		count(&said.Failed)
	case status == 502 && post && saved(seen, 2):
		count(&said.Lost)
	default:
		mistake(&said.Odd, "after save %d: status %d: %s", seen, status, body)
	}
}

// saved tells whether one of the saves from the one seen to the newest begun is of one of these kinds.
func saved(seen uint64, kinds ...byte) bool {
	begun := binary.LittleEndian.Uint64(shared[8:])
	for number := seen; number <= begun; number++ {
		for _, kind := range kinds {
			if shared[16+number] == kind {
				return true
			}
		}
	}
	return false
}

func count(what *int) {
	said.mu.Lock()
	*what++
	said.mu.Unlock()
}

// see says when a version is answered for the first time, in nanoseconds of the clock on the wall.
func see(version int64) {
	said.mu.Lock()
	defer said.mu.Unlock()
	if version > said.newest {
		said.newest = version
		fmt.Println(version, time.Now().UnixNano())
	}
}

func mistake(what *int, format string, values ...any) {
	said.mu.Lock()
	defer said.mu.Unlock()
	*what++
	if len(said.Mistakes) < 50 {
		said.Mistakes = append(said.Mistakes, fmt.Sprintf(format, values...))
	}
}
