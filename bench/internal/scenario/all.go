package scenario

// All lists the scenarios in the order of the table.
func All() []Scenario { return []Scenario{Room(), Rooms(), Idle()} }
