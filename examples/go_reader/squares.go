// A reader of square numbers in Go: what it does. How it crosses to C is in bridge.go.
package main

import (
	"encoding/json"
	"fmt"
	"sync/atomic"
)

const (
	splitRows = 1000
	batchRows = 250
)

// Reader is one source; its methods may be called from any thread.
type Reader struct {
	to        int64
	cancelled atomic.Bool
}

// Failure is an error with what a person or a retry needs to know.
type Failure struct {
	Kind    string `json:"kind"`
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
}

func (f *Failure) Error() string { return f.Message }

// Split is a part of the source, as JSON carries it.
type Split struct {
	ID      string  `json:"id"`
	Payload Payload `json:"payload"`
	Rows    int64   `json:"rows,omitempty"`
}

// Payload is what Read needs of a split.
type Payload struct {
	Start int64 `json:"start"`
}

func newReader(config []byte) (*Reader, error) {
	var source struct {
		Options struct {
			To *int64 `json:"to"`
		} `json:"options"`
	}
	if err := json.Unmarshal(config, &source); err != nil {
		return nil, err
	}
	if source.Options.To == nil || *source.Options.To < 0 {
		return nil, &Failure{"ConfigurationError", "options.to must be a number from 0 up", "set it"}
	}
	return &Reader{to: *source.Options.To}, nil
}

func (r *Reader) plan() any {
	splits := []Split{}
	for start := int64(0); start < r.to; start += splitRows {
		rows := least(splitRows, r.to-start)
		splits = append(splits, Split{fmt.Sprintf("from %d", start), Payload{start}, rows})
	}
	return map[string]any{"splits": splits}
}

// Stream is one split being read, by one thread.
type Stream struct {
	reader    *Reader
	next, end int64
}

func (r *Reader) read(text []byte) (*Stream, error) {
	var split Split
	if err := json.Unmarshal(text, &split); err != nil {
		return nil, err
	}
	start := split.Payload.Start
	return &Stream{r, start, least(r.to, start+splitRows)}, nil
}

// step gives the bounds of the next batch; ok is false at the end.
func (s *Stream) step() (from, to int64, ok bool) {
	if s.reader.cancelled.Load() || s.next >= s.end {
		return 0, 0, false
	}
	from = s.next
	s.next = least(s.end, from+batchRows)
	return from, s.next, true
}

func least(a, b int64) int64 {
	if a < b {
		return a
	}
	return b
}

func main() {}
