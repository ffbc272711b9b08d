// Grpcserver is the service of tests/agents/grpc in Go. Starts slowly where SLOW says so, as agents do.
package main

import (
	"context"
	"errors"
	"io"
	"log"
	"net"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"reveille.dev/tests/agents/echo"
)

func main() {
	seconds, err := strconv.ParseFloat(os.Getenv("SLOW"), 64)
	if err != nil {
		log.Fatal(err)
	}
	time.Sleep(time.Duration(seconds * float64(time.Second)))
	listener, err := net.Listen("tcp", net.JoinHostPort(os.Getenv("HOST"), os.Getenv("PORT")))
	if err != nil {
		log.Fatal(err)
	}
	server := grpc.NewServer()
	server.RegisterService(&grpc.ServiceDesc{
		ServiceName: echo.Name,
		HandlerType: (*any)(nil),
		Methods:     []grpc.MethodDesc{{MethodName: "Unary", Handler: unary}},
		Streams: []grpc.StreamDesc{
			{StreamName: "Down", Handler: down, ServerStreams: true},
			{StreamName: "Up", Handler: up, ClientStreams: true},
			{StreamName: "Both", Handler: both, ServerStreams: true, ClientStreams: true},
		},
	}, struct{}{})
	healthy := health.NewServer()
	healthy.SetServingStatus(echo.Name, grpc_health_v1.HealthCheckResponse_SERVING)
	grpc_health_v1.RegisterHealthServer(server, healthy)
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	go func() {
		<-stop
		healthy.Shutdown()
		server.Stop()
	}()
	if err := server.Serve(listener); err != nil {
		log.Fatal(err)
	}
}

func unary(_ any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
	text := new(wrapperspb.StringValue)
	if err := decode(text); err != nil {
		return nil, err
	}
	if err := grpc.SetTrailer(ctx, metadata.Pairs("x-said", "goodbye")); err != nil {
		return nil, err
	}
	switch text.Value {
	case "refuse":
		return nil, status.Error(codes.InvalidArgument, "refused, ü")
	case "sleep":
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return text, nil
}

func down(_ any, stream grpc.ServerStream) error {
	text := new(wrapperspb.StringValue)
	if err := stream.RecvMsg(text); err != nil {
		return err
	}
	count, err := strconv.Atoi(text.Value)
	for number := 0; err == nil && number < count; number++ {
		err = stream.SendMsg(wrapperspb.String(strconv.Itoa(number)))
	}
	return err
}

func up(_ any, stream grpc.ServerStream) error {
	var texts []string
	for {
		text := new(wrapperspb.StringValue)
		if err := stream.RecvMsg(text); errors.Is(err, io.EOF) {
			return stream.SendMsg(wrapperspb.String(strings.Join(texts, "+")))
		} else if err != nil {
			return err
		}
		texts = append(texts, text.Value)
	}
}

func both(_ any, stream grpc.ServerStream) error {
	for {
		text := new(wrapperspb.StringValue)
		if err := stream.RecvMsg(text); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if err := stream.SendMsg(text); err != nil {
			return err
		}
	}
}
