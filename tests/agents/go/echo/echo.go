// Package echo is the service of both servers and both clients in tests/agents/grpc. Its messages are
// StringValue, which every gRPC library has, so that no code needs to be generated.
package echo

// Name of the service. Its calls: Unary; Down and Up, which stream one way; Both, which streams both ways.
const Name = "agents.Echo"
