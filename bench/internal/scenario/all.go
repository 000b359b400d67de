package scenario

import "slices"

// All lists the scenarios in the order of the table.
func All() []Scenario {
	return slices.Concat([]Scenario{Room(), Rooms(), Idle(), Endurance(), Elsewhere(), Outage()}, Features(), Growth(), TLS())
}
