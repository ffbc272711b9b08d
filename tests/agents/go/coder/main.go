// Coder is a WebSocket client of github.com/coder/websocket, of the server in tests/agents/websockets.
package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"time"

	"github.com/coder/websocket"

	"reveille.dev/tests/agents/stage"
)

func main() {
	socket := open()
	stage.Expect("opened on a sleeping agent", receive(socket), "connection 1")
	stage.Repeat(func(number int) {
		text := fmt.Sprint("hello ", number)
		send(socket, text)
		if answer := receive(socket); answer != text {
			stage.Fail("expected %q, found %q", text, answer)
		}
	})
	stage.StaysAwake("a socket in use")
	send(socket, "leave")
	code, reason := closed(socket)
	stage.Expect("the server's own close", fmt.Sprint(int(code), " ", reason), "4001 as you wish")

	socket = open()
	stage.Expect("an idle socket", receive(socket), "connection 2")
	stage.Asleep("a silent socket keeps nobody awake")
	code, reason = closed(socket)
	told := slices.Contains([]websocket.StatusCode{websocket.StatusGoingAway, websocket.StatusServiceRestart, websocket.StatusTryAgainLater}, code)
	stage.Expect(fmt.Sprintf("the sleep was told: %d %s", code, reason), told, true)

	socket = open()
	stage.Expect("the next one wakes it, and the disk was kept", receive(socket), "connection 3")
	send(socket, "again")
	stage.Expect("it echoes", receive(socket), "again")
	stage.Must("close", socket.Close(websocket.StatusNormalClosure, "done"))
}

func open() *websocket.Conn {
	dial := func(ctx context.Context, network, _ string) (net.Conn, error) {
		// Names below localhost are this machine, which not every resolver knows.
		return new(net.Dialer).DialContext(ctx, network, stage.Address)
	}
	client := &http.Client{Transport: &http.Transport{DialContext: dial}}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	socket, _, err := websocket.Dial(ctx, "ws://"+stage.Host+"/talk", &websocket.DialOptions{HTTPClient: client})
	stage.Must("open", err)
	return socket
}

func send(socket *websocket.Conn, text string) {
	stage.Must("send", socket.Write(context.Background(), websocket.MessageText, []byte(text)))
}

func receive(socket *websocket.Conn) string {
	_, message, err := socket.Read(context.Background())
	stage.Must("receive", err)
	return string(message)
}

// Reads to the end, and says how it came.
func closed(socket *websocket.Conn) (websocket.StatusCode, string) {
	for {
		if _, _, err := socket.Read(context.Background()); err != nil {
			var end websocket.CloseError
			if !errors.As(err, &end) {
				stage.Fail("the socket broke off: %v", err)
			}
			return end.Code, end.Reason
		}
	}
}
