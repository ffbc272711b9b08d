// Package stage is what every client in Go begins with: where Reveille is, what its operator can ask, and
// steps that print a line each. Waiting is for an event, and never longer than Patience.
package stage

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"reflect"
	"strconv"
	"strings"
	"time"
)

var (
	namespace, name, _ = strings.Cut(os.Getenv("SANDBOX"), "/")
	// Address where clients connect.
	Address = os.Getenv("REVEILLE_LISTEN")
	// Host is the name that reaches the sandbox, without a port.
	Host = name + "." + namespace + ".sandbox.localhost"
	// Use is how long a client is to work.
	Use = seconds("USE_SECONDS", 60)
	// Patience is the longest wait for anything.
	Patience = seconds("PATIENCE_SECONDS", 180)
)

func seconds(name string, otherwise float64) time.Duration {
	if value, err := strconv.ParseFloat(os.Getenv(name), 64); err == nil {
		otherwise = value
	}
	return time.Duration(otherwise * float64(time.Second))
}

// Step prints what was done.
func Step(format string, values ...any) {
	fmt.Printf(format+"\n", values...)
}

// Fail ends the client.
func Fail(format string, values ...any) {
	fmt.Printf("FAILED: "+format+"\n", values...)
	os.Exit(1)
}

// Must ends the client on an error.
func Must(what string, err error) {
	if err != nil {
		Fail("%s: %v", what, err)
	}
}

// Expect ends the client if something else was found.
func Expect(what string, found, expected any) {
	if !reflect.DeepEqual(found, expected) {
		Fail("%s: expected %#v, found %#v", what, expected, found)
	}
	Step("%s: ok", what)
}

// State of the sandbox, as Reveille's operator is told.
func State() string {
	client := http.Client{Timeout: 30 * time.Second}
	answer, err := client.Get("http://" + os.Getenv("REVEILLE_ADMIN") + "/v1/sandboxes/" + namespace + "/" + name)
	Must("the operator asks", err)
	defer answer.Body.Close()
	var sandbox struct{ State string }
	Must("the operator reads", json.NewDecoder(answer.Body).Decode(&sandbox))
	return sandbox.State
}

// Asleep waits until the sandbox sleeps.
func Asleep(what string) {
	for since := time.Now(); State() != "asleep"; time.Sleep(50 * time.Millisecond) {
		if time.Since(since) > Patience {
			Fail("the sandbox does not fall asleep: %s", what)
		}
	}
	Step("asleep: %s: ok", what)
}

// StaysAwake says that it must be up, because it was used the whole time.
func StaysAwake(what string) {
	Expect("awake: "+what, State(), "awake")
}

// Repeat does something once a second, for as long as a client is to work.
func Repeat(work func(number int)) {
	since := time.Now()
	for number := 0; time.Since(since) < Use; number++ {
		work(number)
		time.Sleep(time.Second)
	}
	Step("%v of use: ok", Use)
}
