package client_test

import (
	"context"
	"fmt"

	"github.com/wscluster/wscluster/pkg/client"
)

// A program that listens to a room and publishes to it.
func Example() {
	ctx := context.Background()
	c, err := client.Dial(ctx, client.Options{URLs: []string{"wss://chat.example.com/ws"}, Token: client.StaticToken("…")})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close(context.Background()) // waits for publishes that are under way

	room, err := c.Join(ctx, "lobby", client.RoomOptions{History: 50})
	if err != nil {
		fmt.Println(err)
		return
	}
	go func() {
		for event := range room.Events() {
			switch e := event.(type) {
			case client.Message:
				fmt.Println(e.From, string(e.Data))
			case client.Gap:
				fmt.Println("messages may be missing:", e.Reason)
			case client.Ended:
				fmt.Println("the room has ended:", e.Err)
			}
		}
	}()

	receipt, err := c.Publish(ctx, client.Publication{Room: "lobby", Data: "hello"})
	fmt.Println(receipt.MessageID, err)
}
