package pgtest

import (
	"bufio"
	"encoding/binary"
	"io"
	"net"
	"sync"

	"github.com/jackc/pgx/v5/pgproto3"
)

// proxied is one client's connection through a proxy. It forwards whole protocol messages byte for byte and decodes
// only those that carry SQL.
type proxied struct {
	proxy  *Proxy
	client net.Conn
	server net.Conn

	fromClient *bufio.Reader
	fromServer *bufio.Reader
	statements map[string]string // SQL of the prepared statements by name; "" is the unnamed one

	closeOnce sync.Once
	gone      chan struct{}

	mu      sync.Mutex
	asked   int  // how often the server has been asked for ReadyForQuery; the startup is the first time
	answers int  // how often it has sent it
	struck  *cut // to drop the connection, in place of passing on the answer that ends with the last-th ReadyForQuery
	last    int
}

func newProxied(proxy *Proxy, client, server net.Conn) *proxied {
	return &proxied{
		proxy:      proxy,
		client:     client,
		server:     server,
		fromClient: bufio.NewReader(client),
		fromServer: bufio.NewReader(server),
		statements: map[string]string{},
		gone:       make(chan struct{}),
		asked:      1,
	}
}

// close drops both sides. What their Close returns does not matter: a broken connection is what is wanted.
func (c *proxied) close() {
	c.closeOnce.Do(func() {
		close(c.gone)
		_ = c.client.Close()
		_ = c.server.Close()
	})
}

// run forwards until either side ends. Errors are not reported: they all mean that the connection is over.
func (c *proxied) run() {
	defer c.close()
	parse, err := c.startup()
	if err != nil {
		return
	}
	up, down := c.forwardFrontend, c.forwardBackend
	if !parse {
		up = func() error { return c.forwardBytes(c.server, c.fromClient) }
		down = func() error { return c.forwardBytes(c.client, c.fromServer) }
	}
	var both sync.WaitGroup
	for _, forward := range []func() error{up, down} {
		both.Go(func() {
			defer c.close()
			for err := forward(); err == nil; {
				err = forward()
			}
		})
	}
	both.Wait()
}

// startup forwards the messages that come before the first typed one. It returns false when what follows is not to be
// parsed: TLS, GSS encryption, or nothing at all after a CancelRequest.
func (c *proxied) startup() (parse bool, err error) {
	for {
		// These messages have a length, which counts itself, but no type.
		message, err := readMessage(c.fromClient, nil)
		if err != nil {
			return false, err
		}
		if err := c.send(c.server, message); err != nil {
			return false, err
		}
		body := message[4:]
		if (&pgproto3.CancelRequest{}).Decode(body) == nil {
			return false, nil
		}
		asksForEncryption := (&pgproto3.SSLRequest{}).Decode(body) == nil || (&pgproto3.GSSEncRequest{}).Decode(body) == nil
		if !asksForEncryption {
			return true, nil // the StartupMessage
		}
		answer, err := c.fromServer.ReadByte()
		if err != nil {
			return false, err
		}
		if err := c.send(c.client, []byte{answer}); err != nil {
			return false, err
		}
		if answer != 'N' {
			return false, nil
		}
	}
}

func (c *proxied) forwardFrontend() error {
	message, err := readTyped(c.fromClient)
	if err != nil {
		return err
	}
	body := message[5:]
	var running string
	var runs bool
	switch message[0] {
	case 'Q':
		var query pgproto3.Query
		if err := query.Decode(body); err != nil {
			return err
		}
		running, runs = query.String, true
	case 'P':
		var parse pgproto3.Parse
		if err := parse.Decode(body); err != nil {
			return err
		}
		c.statements[parse.Name] = parse.Query
	case 'B':
		var bind pgproto3.Bind
		if err := bind.Decode(body); err != nil {
			return err
		}
		running, runs = c.statements[bind.PreparedStatement], true
	}

	if runs {
		if struck := c.proxy.strikes(running); struck != nil {
			if !struck.after {
				c.close()
				close(struck.done)
				return net.ErrClosed
			}
			c.mu.Lock()
			c.struck, c.last = struck, c.asked+1
			c.mu.Unlock()
		}
	}
	// Each Query, Sync and FunctionCall is answered by one ReadyForQuery in the end.
	if message[0] == 'Q' || message[0] == 'S' || message[0] == 'F' {
		c.mu.Lock()
		c.asked++
		c.mu.Unlock()
	}
	return c.send(c.server, message)
}

func (c *proxied) forwardBackend() error {
	message, err := readTyped(c.fromServer)
	if err != nil {
		return err
	}
	c.mu.Lock()
	struck := c.struck
	if struck != nil && c.answers < c.last-1 {
		struck = nil // still the answer to an earlier request
	}
	if message[0] == 'Z' {
		c.answers++
	}
	finished := struck != nil && c.answers == c.last
	c.mu.Unlock()

	if finished {
		c.close()
		close(struck.done)
		return net.ErrClosed
	}
	if struck != nil {
		return nil // held back
	}
	return c.send(c.client, message)
}

func (c *proxied) forwardBytes(to io.Writer, from io.Reader) error {
	buffer := make([]byte, 32<<10)
	n, err := from.Read(buffer)
	if err != nil {
		return err
	}
	return c.send(to, buffer[:n])
}

// send passes bytes on once the proxy is not stalled.
func (c *proxied) send(to io.Writer, message []byte) error {
	select {
	case <-c.proxy.gate():
	case <-c.gone:
		return net.ErrClosed
	}
	_, err := to.Write(message)
	return err
}

// readTyped reads a message with its type and length.
func readTyped(from *bufio.Reader) ([]byte, error) {
	kind, err := from.ReadByte()
	if err != nil {
		return nil, err
	}
	return readMessage(from, []byte{kind})
}

// readMessage reads a length and what it counts, and appends both to what was read before.
func readMessage(from io.Reader, message []byte) ([]byte, error) {
	var length [4]byte
	if _, err := io.ReadFull(from, length[:]); err != nil {
		return nil, err
	}
	size := binary.BigEndian.Uint32(length[:])
	if size < 4 || size > 1<<30 {
		return nil, io.ErrUnexpectedEOF // not the PostgreSQL protocol
	}
	body := make([]byte, size-4)
	if _, err := io.ReadFull(from, body); err != nil {
		return nil, err
	}
	message = append(message, length[:]...)
	return append(message, body...), nil
}
