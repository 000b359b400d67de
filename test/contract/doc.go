// Package contract holds gateways to what docs/protocol.md, docs/gateway.md and docs/configuration.md promise, from outside: real gateway
// processes, a real Redis, and clients that are nothing but a WebSocket or an HTTP request. It uses nothing of this project.
//
// Every test quotes the promise that it keeps, and TestEveryLineHasATestThatNamesIt compares the quotes with the pages: a line
// that no test quotes fails it, and so does a quote that the pages do not have any more.
package contract
