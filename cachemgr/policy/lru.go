package policy

import (
	"container/list"
	"iter"
)

// LRU lets the key go that was not used for longest.
type LRU struct {
	uses *list.List // of keys, the latest use in front
	at   map[string]*list.Element
}

var _ Order = (*LRU)(nil)

// NewLRU returns an empty order.
func NewLRU() *LRU {
	return &LRU{uses: list.New(), at: map[string]*list.Element{}}
}

func (l *LRU) Add(key string, _ Entry) {
	if e, ok := l.at[key]; ok {
		l.uses.MoveToFront(e)
		return
	}
	l.at[key] = l.uses.PushFront(key)
}

func (l *LRU) Update(string, Entry) {}

func (l *LRU) Touch(key string) {
	if e, ok := l.at[key]; ok {
		l.uses.MoveToFront(e)
	}
}

func (l *LRU) Remove(key string) {
	if e, ok := l.at[key]; ok {
		l.uses.Remove(e)
		delete(l.at, key)
	}
}

func (l *LRU) Victims() iter.Seq[string] {
	return func(yield func(string) bool) {
		for e := l.uses.Back(); e != nil; e = e.Prev() {
			if !yield(e.Value.(string)) {
				return
			}
		}
	}
}
