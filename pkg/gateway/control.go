package gateway

import (
	"strings"

	"github.com/wscluster/wscluster/pkg/backplane"
	"github.com/wscluster/wscluster/pkg/hub"
	"github.com/wscluster/wscluster/pkg/protocol"
	"github.com/wscluster/wscluster/pkg/socket"
)

// controlDisconnect asks every gateway to close the connections of the user whose channel it comes by.
const controlDisconnect = "disconnect"

// control does what another gateway, or this one, asked for. An unknown word is from a newer version, and is left to it.
func (g *Gateway) control(t backplane.Target, word string, members []*hub.Client) {
	word, connection, _ := strings.Cut(word, " ")
	switch {
	case t.Kind == backplane.User && word == controlDisconnect:
		for _, c := range members {
			c.Sender.Close(uint16(protocol.CloseForbidden), "disconnected by the server", socket.Disconnected)
		}
	case t.Kind == backplane.User && word == controlReplace:
		g.attendance.replace(t.ID, connection)
	case t.Kind == backplane.User && word == controlTell:
		g.attendance.tell(t.ID)
	default:
		g.logger.Warn("a control message that this version does not know", "control", word)
	}
}
