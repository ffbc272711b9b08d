// Gorilla is a WebSocket client of github.com/gorilla/websocket, of the server in tests/agents/websockets.
package main

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"time"

	"github.com/gorilla/websocket"

	"reveille.dev/tests/agents/stage"
)

func main() {
	socket := open()
	stage.Expect("opened on a sleeping agent", receive(socket), "connection 1")
	stage.Repeat(func(number int) {
		text := fmt.Sprint("hello ", number)
		stage.Must("send", socket.WriteMessage(websocket.TextMessage, []byte(text)))
		if answer := receive(socket); answer != text {
			stage.Fail("expected %q, found %q", text, answer)
		}
	})
	stage.StaysAwake("a socket in use")
	stage.Must("leave", socket.WriteMessage(websocket.TextMessage, []byte("leave")))
	code, reason := closed(socket)
	stage.Expect("the server's own close", fmt.Sprint(code, " ", reason), "4001 as you wish")

	socket = open()
	receive(socket)
	// Whether all of it could still be written does not matter; why not is to be read.
	_ = socket.WriteMessage(websocket.BinaryMessage, make([]byte, 8<<20))
	code, _ = closed(socket)
	stage.Expect("too large a message is told of in mid-send", code, websocket.CloseMessageTooBig)

	socket = open()
	stage.Expect("an idle socket", receive(socket), "connection 3")
	done := make(chan struct{})
	go func() {
		for beat := time.NewTicker(500 * time.Millisecond); ; {
			select {
			case <-beat.C:
				_ = socket.WriteControl(websocket.PingMessage, nil, time.Now().Add(time.Second))
			case <-done:
				return
			}
		}
	}()
	go func() {
		stage.Asleep("pings keep nobody awake")
		close(done)
	}()
	code, reason = closed(socket)
	<-done
	told := slices.Contains([]int{websocket.CloseGoingAway, websocket.CloseServiceRestart, websocket.CloseTryAgainLater}, code)
	stage.Expect(fmt.Sprintf("the sleep was told: %d %s", code, reason), told, true)

	socket = open()
	stage.Expect("the next one wakes it, and the disk was kept", receive(socket), "connection 4")
	stage.Must("send", socket.WriteMessage(websocket.TextMessage, []byte("again")))
	stage.Expect("it echoes", receive(socket), "again")
}

func open() *websocket.Conn {
	dialer := websocket.Dialer{
		HandshakeTimeout: 2 * time.Minute,
		// Names below localhost are this machine, which not every resolver knows.
		NetDial: func(network, _ string) (net.Conn, error) { return net.Dial(network, stage.Address) },
	}
	_, port, err := net.SplitHostPort(stage.Address)
	stage.Must("address", err)
	here := stage.Host + ":" + port
	socket, _, err := dialer.Dial("ws://"+here+"/talk", http.Header{"Origin": {"http://" + here}})
	stage.Must("open", err)
	return socket
}

func receive(socket *websocket.Conn) string {
	_, message, err := socket.ReadMessage()
	stage.Must("receive", err)
	return string(message)
}

// Reads to the end, and says how it came.
func closed(socket *websocket.Conn) (int, string) {
	for {
		if _, _, err := socket.ReadMessage(); err != nil {
			var end *websocket.CloseError
			if !errors.As(err, &end) {
				stage.Fail("the socket broke off: %v", err)
			}
			return end.Code, end.Text
		}
	}
}
