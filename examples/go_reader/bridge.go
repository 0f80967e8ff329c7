package main

/*
#include <stdlib.h>
#include "table.h"
*/
import "C"

import (
	"encoding/json"
	"errors"
	"fmt"
	"runtime/cgo"
	"unsafe"
)

// handles: Go's pointers stay in Go; C holds a number for each, in memory of its own.

func hold(value any) unsafe.Pointer {
	at := (*C.uintptr_t)(C.malloc(C.size_t(unsafe.Sizeof(C.uintptr_t(0)))))
	*at = C.uintptr_t(cgo.NewHandle(value))
	return unsafe.Pointer(at)
}

func held[T any](at unsafe.Pointer) T { return cgo.Handle(*(*C.uintptr_t)(at)).Value().(T) }

func drop(at unsafe.Pointer) {
	cgo.Handle(*(*C.uintptr_t)(at)).Delete()
	C.free(at)
}

// answered runs work: what it returns, or the error, is the answer. A panic stays on this side.
func answered(answer **C.char, work func() (any, error)) (status C.int32_t) {
	var value any
	var err error
	func() {
		defer func() {
			if found := recover(); found != nil {
				err = fmt.Errorf("it panicked: %v", found)
			}
		}()
		value, err = work()
	}()
	if err != nil {
		var failure *Failure
		if !errors.As(err, &failure) {
			failure = &Failure{Kind: "PluginError", Message: err.Error()}
		}
		value, status = failure, C.DATIVO_FAILED
	}
	if value != nil {
		text, _ := json.Marshal(value)
		*answer = C.CString(string(text))
	}
	return status
}

func bytesOf(text *C.char) []byte { return []byte(C.GoString(text)) }

//export goCreate
func goCreate(config *C.char, out *unsafe.Pointer, answer **C.char) C.int32_t {
	return answered(answer, func() (any, error) {
		reader, err := newReader(bytesOf(config))
		if err == nil {
			*out = hold(reader)
		}
		return nil, err
	})
}

//export goClose
func goClose(reader unsafe.Pointer) { drop(reader) }

//export goCancel
func goCancel(reader unsafe.Pointer) { held[*Reader](reader).cancelled.Store(true) }

//export goPlan
func goPlan(reader unsafe.Pointer, schema *C.struct_ArrowSchema, answer **C.char) C.int32_t {
	return answered(answer, func() (any, error) {
		plan := held[*Reader](reader).plan()
		if C.make_schema(schema) != 0 {
			return nil, errors.New("there is no memory left")
		}
		return plan, nil
	})
}

//export goRead
func goRead(reader unsafe.Pointer, split *C.char, out *unsafe.Pointer, answer **C.char) C.int32_t {
	return answered(answer, func() (any, error) {
		stream, err := held[*Reader](reader).read(bytesOf(split))
		if err == nil {
			*out = hold(stream)
		}
		return nil, err
	})
}

// goNext fills a batch of the two columns; its memory is C's, and released there.
//
//export goNext
func goNext(stream unsafe.Pointer, out *C.struct_ArrowArray) C.int {
	from, to, ok := held[*Stream](stream).step()
	if !ok {
		return 0
	}
	if C.make_batch(out, C.int64_t(to-from)) != 0 {
		return 12
	}
	numbers, squares := column(out, 0, to-from), column(out, 1, to-from)
	for n := from; n < to; n++ {
		numbers[n-from], squares[n-from] = n, n*n
	}
	return 0
}

//export goStreamClose
func goStreamClose(stream unsafe.Pointer) { drop(stream) }

func column(batch *C.struct_ArrowArray, index int, rows int64) []int64 {
	return unsafe.Slice((*int64)(C.column(batch, C.int(index))), rows)
}
