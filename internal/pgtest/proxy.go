package pgtest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"sync"
)

// Proxy stands between clients and a server on the loopback interface and injects faults: it drops connections at exact
// points of the protocol, or stalls them.
type Proxy struct {
	listener net.Listener
	upstream string
	serving  sync.WaitGroup
	detach   func() bool // unties the proxy from the context it was started with

	mu          sync.Mutex
	closed      bool
	connections map[*proxied]struct{}
	cuts        []*cut
	open        chan struct{} // closed while traffic flows
}

// Containing matches statements that contain a text, in any case.
func Containing(text string) func(sql string) bool {
	text = strings.ToLower(text)
	return func(sql string) bool { return strings.Contains(strings.ToLower(sql), text) }
}

// StartProxy starts a proxy for the server at an address. It ends with Close or with ctx.
func StartProxy(ctx context.Context, upstream string) (*Proxy, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("start a proxy for %s: %w", upstream, err)
	}
	proxy := &Proxy{
		listener:    listener,
		upstream:    upstream,
		connections: map[*proxied]struct{}{},
		open:        make(chan struct{}),
	}
	close(proxy.open)
	proxy.detach = context.AfterFunc(ctx, proxy.shut)
	proxy.serving.Go(proxy.accept)
	return proxy, nil
}

// Address is the host and port that the proxy listens on.
func (p *Proxy) Address() string {
	return p.listener.Addr().String()
}

// ConnString is a server's connection URL changed to lead through the proxy. It must ask for sslmode=disable: the proxy
// cannot look into TLS.
func (p *Proxy) ConnString(direct string) (string, error) {
	target, err := url.Parse(direct)
	if err != nil || target.Host == "" {
		return "", fmt.Errorf("the proxy needs a connection URL such as postgres://user@host:port/database")
	}
	target.Host = p.Address()
	return target.String(), nil
}

// CutBefore drops the connection that is about to run a statement for which match is true, for the n-th time from now
// over all connections (from 1). The statement does not reach the server. The returned channel is closed when the
// connection has been dropped.
//
// A statement runs when a simple Query message or the Bind message of the extended protocol is sent; preparing does not
// count.
func (p *Proxy) CutBefore(match func(sql string) bool, n int) <-chan struct{} {
	return p.addCut(&cut{match: match, left: n, done: make(chan struct{})})
}

// CutAfter is CutBefore but lets the statement through, waits until the server has finished it, and then drops the
// connection without passing the answer on: for a commit, "committed, reply lost".
func (p *Proxy) CutAfter(match func(sql string) bool, n int) <-chan struct{} {
	return p.addCut(&cut{match: match, left: n, after: true, done: make(chan struct{})})
}

// CutAll drops every connection.
func (p *Proxy) CutAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for connection := range p.connections {
		connection.close()
	}
}

// Stall holds all traffic back, in both directions, while the connections stay open: a network that has gone silent.
func (p *Proxy) Stall() {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.open:
		p.open = make(chan struct{})
	default: // stalled already
	}
}

// Resume lets the traffic flow again, with nothing lost.
func (p *Proxy) Resume() {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.open:
	default:
		close(p.open)
	}
}

// Close drops every connection and stops listening.
func (p *Proxy) Close() {
	p.detach()
	p.shut()
	p.serving.Wait()
}

func (p *Proxy) shut() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	_ = p.listener.Close() // it can only be closed already
	p.CutAll()
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // that client's connection broke before it was accepted
		}
		p.serving.Go(func() { p.serve(client) })
	}
}

func (p *Proxy) serve(client net.Conn) {
	server, err := net.Dial("tcp", p.upstream)
	if err != nil {
		_ = client.Close() // the server is down, and that is what the client shall see
		return
	}
	connection := newProxied(p, client, server)
	defer connection.close()

	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return
	}
	p.connections[connection] = struct{}{}
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.connections, connection)
	}()
	connection.run()
}

// gate is closed when traffic may flow.
func (p *Proxy) gate() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.open
}

// cut is one fault that waits for its statement.
type cut struct {
	match func(sql string) bool
	left  int // occurrences until it strikes
	after bool
	done  chan struct{}
}

func (p *Proxy) addCut(added *cut) <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cuts = append(p.cuts, added)
	return added.done
}

// strikes counts a statement that is about to run and returns the cut that it sets off, which is then used up.
func (p *Proxy) strikes(sql string) *cut {
	p.mu.Lock()
	defer p.mu.Unlock()
	var struck *cut
	kept := p.cuts[:0]
	for _, waiting := range p.cuts {
		if waiting.match(sql) {
			waiting.left--
		}
		if waiting.left <= 0 && struck == nil {
			struck = waiting
			continue
		}
		kept = append(kept, waiting)
	}
	p.cuts = kept
	return struck
}
