package gateway

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/wscluster/wscluster/pkg/backplane"
	"github.com/wscluster/wscluster/pkg/protocol"
	"github.com/wscluster/wscluster/pkg/settings"
)

// apiReceipt answers one publish; Code and Message are empty unless it failed, or is unconfirmed.
type apiReceipt struct {
	MessageID string        `json:"message_id,omitempty"`
	Epoch     string        `json:"epoch,omitempty"`
	Offset    int64         `json:"offset,omitempty"`
	Code      protocol.Code `json:"code,omitempty"`
	Message   string        `json:"message,omitempty"`
}

// The bounds of a batch.
const (
	maxBatch      = 1000
	maxBatchBytes = 8 << 20
	// apiEnvelopeBytes is what a body may have beside the data.
	apiEnvelopeBytes = 1 << 10
)

func (g *Gateway) apiPublishRoom(w http.ResponseWriter, r *http.Request) {
	room, err := apiName(r, "room_id")
	if err != nil {
		apiError(w, err)
		return
	}
	g.apiPublishOne(w, r, backplane.Target{ID: room})
}

func (g *Gateway) apiPublishUser(w http.ResponseWriter, r *http.Request) {
	user, err := apiName(r, "user_id")
	if err != nil {
		apiError(w, err)
		return
	}
	g.apiPublishOne(w, r, backplane.Target{Kind: backplane.User, ID: user})
}

func (g *Gateway) apiPublishOne(w http.ResponseWriter, r *http.Request, target backplane.Target) {
	body, err := apiBody(w, r, int64(g.live.Load().limits.MaxMessageBytes)+apiEnvelopeBytes, "the body is larger than max_message_bytes allows")
	if err != nil {
		apiError(w, err)
		return
	}
	var message protocol.Command
	err = message.DecodePublication(body, false)
	receipt := <-g.apiPublish(&message, target, err)
	switch receipt.Code {
	case "":
		apiAnswer(w, http.StatusOK, receipt)
	case protocol.CodeUnconfirmed:
		apiAnswer(w, http.StatusAccepted, receipt)
	default:
		apiError(w, &protocol.Error{Code: receipt.Code, Message: receipt.Message})
	}
}

// apiPublishBatch publishes many messages and answers each; messages to one target keep their order.
func (g *Gateway) apiPublishBatch(w http.ResponseWriter, r *http.Request) {
	body, err := apiBody(w, r, maxBatchBytes, "the body is larger than 8 MiB: send it in several requests")
	if err != nil {
		apiError(w, err)
		return
	}
	messages, err := protocol.Batch(body)
	if err != nil {
		apiError(w, err)
		return
	}
	if len(messages) == 0 || len(messages) > maxBatch {
		apiError(w, &protocol.Error{Code: protocol.CodeBadRequest, Message: fmt.Sprintf("a batch must have 1 to %d messages", maxBatch)})
		return
	}
	waiting := make([]<-chan apiReceipt, len(messages))
	for i := range messages {
		var message protocol.Command
		err := message.DecodePublication(messages[i], true)
		target := backplane.Target{ID: string(message.RoomID)}
		if message.TargetUserID != nil {
			target = backplane.Target{Kind: backplane.User, ID: string(message.TargetUserID)}
		}
		waiting[i] = g.apiPublish(&message, target, err)
	}
	receipts := make([]apiReceipt, len(messages))
	for i := range waiting {
		receipts[i] = <-waiting[i]
	}
	apiAnswer(w, http.StatusOK, receipts)
}

// apiPublish publishes a message, unless decoding it has failed; the receipt comes when the backplane has confirmed or given up.
func (g *Gateway) apiPublish(message *protocol.Command, target backplane.Target, failed *protocol.Error) <-chan apiReceipt {
	g.metrics.apiReceived.Add(1)
	answer := make(chan apiReceipt, 1)
	m := backplane.Message{Target: target}
	if failed == nil {
		m.Keep, failed = g.apiMay(message, target)
	}
	if failed != nil {
		answer <- apiReceipt{Code: failed.Code, Message: failed.Message}
		return answer
	}
	id := g.sequence.next(nil)
	frame := protocol.Message{ID: id, Data: message.Data, TS: time.Now().UnixMilli()}
	if target.Kind == backplane.Room {
		frame.RoomID = []byte(target.ID)
	} else {
		frame.TargetUserID = []byte(target.ID)
	}
	m.ID, m.Body = id, protocol.AppendMessage(nil, &frame)
	if m.IdempotencyKey = string(message.IdempotencyKey); m.IdempotencyKey != "" {
		m.Data = message.Data
	}
	g.hub.Publish(&m, apiConfirmation{g: g, id: id, started: time.Now(), answer: answer})
	return answer
}

// apiMay says whether a backend may publish the message, and how it is kept.
func (g *Gateway) apiMay(message *protocol.Command, target backplane.Target) (*backplane.Keep, *protocol.Error) {
	live := g.live.Load()
	switch {
	case len(message.Data) > live.limits.MaxMessageBytes:
		return nil, &protocol.Error{Code: protocol.CodeBadRequest, Message: "data is larger than max_message_bytes"}
	case target.Kind == backplane.User && live.direct == settings.AccessNone:
		return nil, &protocol.Error{Code: protocol.CodeForbidden, Message: "nobody may publish to a user"}
	case target.Kind == backplane.User:
		return live.inbox, nil
	case live.policies.Policy(target.ID).Publish == settings.AccessNone:
		return nil, &protocol.Error{Code: protocol.CodeForbidden, Message: "nobody may publish to this room"}
	}
	return live.keepRoom(target.ID), nil
}

// apiConfirmation hands the backplane's answer to the request that waits for it.
type apiConfirmation struct {
	g       *Gateway
	id      []byte
	started time.Time
	answer  chan<- apiReceipt
}

// Published implements backplane.Confirmation.
func (c apiConfirmation) Published(r backplane.Receipt, err error) {
	c.g.metrics.publishDuration.Observe(time.Since(c.started).Seconds())
	receipt := apiReceipt{MessageID: string(c.id), Epoch: r.Epoch, Offset: r.Offset}
	if r.MessageID != "" {
		receipt.MessageID = r.MessageID
	}
	if err != nil {
		failure := publishError(err)
		receipt.Code, receipt.Message = failure.Code, failure.Message
		if failure.Code != protocol.CodeUnconfirmed {
			receipt.MessageID = ""
		}
	}
	c.answer <- receipt
}

// apiHistory answers GET /v1/rooms/{room_id}/messages?since=&limit=.
func (g *Gateway) apiHistory(w http.ResponseWriter, r *http.Request) {
	room, err := apiName(r, "room_id")
	if err != nil {
		apiError(w, err)
		return
	}
	if g.live.Load().keepRoom(room) == nil || !g.hub.HasLog() {
		apiError(w, errNoHistory)
		return
	}
	since, err := apiNumber(r, "since", 0, protocol.MaxOffset)
	if err != nil {
		apiError(w, err)
		return
	}
	limit, err := apiNumber(r, "limit", protocol.MaxAckMessages, protocol.MaxLimit)
	if err != nil {
		apiError(w, err)
		return
	}
	listing, failure := g.hub.ReadHistory(r.Context(), backplane.Target{ID: room}, backplane.Cursor{Since: since, Limit: int(limit)})
	if failure != nil {
		apiError(w, &protocol.Error{Code: protocol.CodeUnavailable, Message: "the history cannot be read now: try again"})
		return
	}
	apiAnswer(w, http.StatusOK, struct {
		Epoch    string          `json:"epoch"`
		Offset   int64           `json:"offset"`
		Messages json.RawMessage `json:"messages"`
		// Next is what to give as since for what follows; 0: there is no more.
		Next int64 `json:"next,omitempty"`
	}{listing.At.Epoch, listing.At.Offset, append(append([]byte{'['}, listing.Messages...), ']'), nextOffset(listing.More, listing.Last)})
}

func nextOffset(more bool, last int64) int64 {
	if !more {
		return 0
	}
	return last
}

// apiNumber reads a whole number from the query.
func apiNumber(r *http.Request, name string, absent, most int64) (int64, *protocol.Error) {
	text := r.URL.Query().Get(name)
	if text == "" {
		return absent, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 || n > most {
		return 0, &protocol.Error{Code: protocol.CodeBadRequest, Message: fmt.Sprintf("%s must be a whole number from 0 to %d", name, most)}
	}
	return n, nil
}

// apiDisconnect closes all connections of a user on every gateway, with 4403: the client does not come back by itself.
func (g *Gateway) apiDisconnect(w http.ResponseWriter, r *http.Request) {
	user, err := apiName(r, "user_id")
	if err != nil {
		apiError(w, err)
		return
	}
	answer := make(chan apiReceipt, 1)
	g.hub.PublishControl(backplane.Target{Kind: backplane.User, ID: user}, controlDisconnect,
		apiConfirmation{g: g, started: time.Now(), answer: answer})
	if receipt := <-answer; receipt.Code != "" {
		apiError(w, &protocol.Error{Code: receipt.Code, Message: "not known to have reached every gateway: try again"})
		return
	}
	w.WriteHeader(http.StatusNoContent)
}
