// Grpcclient is a client of grpc-go: all kinds of calls, health, trailers, errors, and deadlines across a
// wake.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"reveille.dev/tests/agents/echo"
	"reveille.dev/tests/agents/stage"
)

const long = 2 * time.Minute

var channel *grpc.ClientConn

func main() {
	_, port, err := net.SplitHostPort(stage.Address)
	stage.Must("address", err)
	channel, err = grpc.NewClient(
		"passthrough:///"+stage.Address,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		// The name that the sandbox is asked for by; the connection goes to this machine.
		grpc.WithAuthority(stage.Host+":"+port),
		// Pings while nothing is called: no activity.
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second, PermitWithoutStream: true}),
	)
	stage.Must("channel", err)
	defer channel.Close()

	hello("a call to a sleeping agent")
	calls()
	dialogue()
	ended := watch()
	stage.Asleep("an attached watch and pings keep nobody awake")
	stage.Step("the watch ended: %v", <-ended)
	_, err = unary("early", 500*time.Millisecond)
	stage.Expect("a deadline that the wake outlasts", status.Code(err).String(), codes.DeadlineExceeded.String())
	hello("the next call joins the wake")
	stage.Asleep("with the channel open")
	hello("a call across a wake within its deadline")
}

func unary(text string, within time.Duration, options ...grpc.CallOption) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	answer := new(wrapperspb.StringValue)
	err := channel.Invoke(ctx, "/"+echo.Name+"/Unary", wrapperspb.String(text), answer, options...)
	return answer.Value, err
}

func hello(what string) {
	answer, err := unary(what, long)
	stage.Must(what, err)
	stage.Expect(what, answer, what)
}

func open(ctx context.Context, name string, up, down bool) grpc.ClientStream {
	description := &grpc.StreamDesc{StreamName: name, ClientStreams: up, ServerStreams: down}
	stream, err := channel.NewStream(ctx, description, "/"+echo.Name+"/"+name)
	stage.Must(name, err)
	return stream
}

func send(stream grpc.ClientStream, text string) {
	stage.Must("send", stream.SendMsg(wrapperspb.String(text)))
}

// The next answer; false at the end.
func receive(stream grpc.ClientStream) (string, bool) {
	answer := new(wrapperspb.StringValue)
	err := stream.RecvMsg(answer)
	if errors.Is(err, io.EOF) {
		return "", false
	}
	stage.Must("receive", err)
	return answer.Value, true
}

func calls() {
	ctx, cancel := context.WithTimeout(context.Background(), long)
	defer cancel()
	down := open(ctx, "Down", false, true)
	send(down, "5000")
	stage.Must("close", down.CloseSend())
	count := 0
	for ; ; count++ {
		if _, more := receive(down); !more {
			break
		}
	}
	stage.Expect("a stream down", count, 5000)

	up := open(ctx, "Up", true, false)
	for _, text := range []string{"a", "b", "c"} {
		send(up, text)
	}
	stage.Must("close", up.CloseSend())
	sum, _ := receive(up)
	stage.Expect("a stream up", sum, "a+b+c")

	var trailer metadata.MD
	_, err := unary("trailers", long, grpc.Trailer(&trailer))
	stage.Must("trailers", err)
	stage.Expect("trailing metadata", trailer.Get("x-said"), []string{"goodbye"})
	large := strings.Repeat("x", 3<<20)
	answer, err := unary(large, long)
	stage.Must("large", err)
	stage.Expect("a message of 3 MiB", answer == large, true)
	_, err = unary("refuse", long)
	stage.Expect("the agent's own error", fmt.Sprint(err), "rpc error: code = InvalidArgument desc = refused, ü")
	_, err = unary("sleep", time.Second)
	stage.Expect("a deadline", status.Code(err).String(), codes.DeadlineExceeded.String())
	health, err := grpc_health_v1.NewHealthClient(channel).Check(ctx, &grpc_health_v1.HealthCheckRequest{Service: echo.Name})
	stage.Must("health", err)
	stage.Expect("health", health.Status.String(), "SERVING")
}

// A stream both ways, a message a second, for as long as there is to do.
func dialogue() {
	ctx, cancel := context.WithTimeout(context.Background(), stage.Use+long)
	defer cancel()
	both := open(ctx, "Both", true, true)
	stage.Repeat(func(number int) {
		text := fmt.Sprint("message ", number)
		send(both, text)
		if answer, _ := receive(both); answer != text {
			stage.Fail("expected %q, found %q", text, answer)
		}
	})
	stage.StaysAwake("a stream in use")
	stage.Must("close", both.CloseSend())
	_, more := receive(both)
	stage.Expect("the stream ends", more, false)
}

// Stands attached: waits for news of the health that never come.
func watch() <-chan error {
	client := grpc_health_v1.NewHealthClient(channel)
	news, err := client.Watch(context.Background(), &grpc_health_v1.HealthCheckRequest{Service: echo.Name})
	stage.Must("watch", err)
	first, err := news.Recv()
	stage.Must("watch", err)
	stage.Expect("watching", first.Status.String(), "SERVING")
	ended := make(chan error, 1)
	go func() {
		for {
			if _, err := news.Recv(); err != nil {
				ended <- err
				return
			}
		}
	}()
	return ended
}
