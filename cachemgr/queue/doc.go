// Package queue orders the requests that wait for one device: which of them
// computes next, and for which of them a model is brought next. It is pure and
// deterministic: time is passed in, and it knows no models, devices and locks. It
// imports the standard library only.
//
// A Queue holds requests in groups. The requests of a group can go on together:
// they are for one model, in one place. A group is open while they can go on at
// all. Which request is the best is said by a Policy; that none is passed over
// for ever is seen to by the Queue itself.
//
// Every operation takes O(log n) and allocates nothing once the queue has grown.
package queue
