// Package fleet knows what the gateway pods of a cluster carry: it reads it from their ops ports, and computes from it. It knows
// pods as names and addresses; where those come from, and what follows, is package controller's.
package fleet
