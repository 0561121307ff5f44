package queue

// order ranks the elements of a heap and knows where they keep their place in it.
type order[T any] interface {
	before(a, b T) bool
	place(T) *int
}

// heap is a binary heap whose elements know their place, so that any of them can
// be taken out. An element that is in no heap has the place -1.
type heap[T any, O order[T]] struct {
	items []T
	order O
}

func (h *heap[T, O]) empty() bool { return len(h.items) == 0 }

func (h *heap[T, O]) top() T { return h.items[0] }

func (h *heap[T, O]) push(x T) {
	*h.order.place(x) = len(h.items)
	h.items = append(h.items, x)
	h.up(len(h.items) - 1)
}

// remove takes x out; nothing happens if it is not inside.
func (h *heap[T, O]) remove(x T) {
	at := *h.order.place(x)
	if at < 0 {
		return
	}
	last := len(h.items) - 1
	h.swap(at, last)
	var none T
	h.items[last] = none
	h.items = h.items[:last]
	*h.order.place(x) = -1
	if at < last {
		h.put(h.items[at])
	}
}

// put lets x in, or moves it to where it belongs after its rank has changed.
func (h *heap[T, O]) put(x T) {
	if at := *h.order.place(x); at < 0 {
		h.push(x)
	} else if !h.down(at) {
		h.up(at)
	}
}

// rebuild orders everything anew.
func (h *heap[T, O]) rebuild() {
	for i := len(h.items)/2 - 1; i >= 0; i-- {
		h.down(i)
	}
}

func (h *heap[T, O]) up(i int) {
	for i > 0 {
		parent := (i - 1) / 2
		if !h.order.before(h.items[i], h.items[parent]) {
			return
		}
		h.swap(i, parent)
		i = parent
	}
}

// down reports whether the element has moved.
func (h *heap[T, O]) down(i int) (moved bool) {
	for {
		least := i
		for c := 2*i + 1; c <= 2*i+2 && c < len(h.items); c++ {
			if h.order.before(h.items[c], h.items[least]) {
				least = c
			}
		}
		if least == i {
			return moved
		}
		h.swap(i, least)
		i, moved = least, true
	}
}

func (h *heap[T, O]) swap(i, j int) {
	h.items[i], h.items[j] = h.items[j], h.items[i]
	*h.order.place(h.items[i]) = i
	*h.order.place(h.items[j]) = j
}
