package policy

import "iter"

// TwoLists lets spare keys go before all others; within both, the one that was
// not used for longest. Adding a key again with another Entry.Spare moves it.
//
// It is the order that Torpor describes: models that are light, or have a copy on
// another device, leave first.
type TwoLists struct {
	spare, needed *LRU
}

var _ Order = (*TwoLists)(nil)

// NewTwoLists returns an empty order.
func NewTwoLists() *TwoLists {
	return &TwoLists{spare: NewLRU(), needed: NewLRU()}
}

// Add implements Order.
func (t *TwoLists) Add(key string, e Entry) {
	to, from := t.needed, t.spare
	if e.Spare {
		to, from = from, to
	}
	from.Remove(key)
	to.Add(key, e)
}

// Update implements Order. A key that changes its list counts as just used there.
func (t *TwoLists) Update(key string, e Entry) {
	from := t.spare
	if e.Spare {
		from = t.needed
	}
	if _, moves := from.at[key]; moves {
		t.Add(key, e)
	}
}

// Touch implements Order.
func (t *TwoLists) Touch(key string) {
	t.spare.Touch(key)
	t.needed.Touch(key)
}

// Remove implements Order.
func (t *TwoLists) Remove(key string) {
	t.spare.Remove(key)
	t.needed.Remove(key)
}

// Victims implements Order.
func (t *TwoLists) Victims() iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, list := range []*LRU{t.spare, t.needed} {
			for key := range list.Victims() {
				if !yield(key) {
					return
				}
			}
		}
	}
}
