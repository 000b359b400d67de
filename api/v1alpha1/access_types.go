package v1alpha1

// AuthType names a way to find out who a client is.
//
// +kubebuilder:validation:Enum=Guest;TrustedUserID;JWT
type AuthType string

// The values of AuthType.
const (
	// AuthGuest gives every connection a user id made by the server; what the client claims is ignored.
	AuthGuest AuthType = "Guest"
	// AuthTrustedUserID believes ?user_id=; for a proxy that has checked it, or for trying things out.
	AuthTrustedUserID AuthType = "TrustedUserID"
	// AuthJWT takes the user id from a verified token.
	AuthJWT AuthType = "JWT"
)

// Auth says who a client is; a union by type.
//
// +kubebuilder:validation:XValidation:rule="!has(self.type) || self.type != 'JWT' || has(self.jwt)",message="auth.type JWT needs auth.jwt with secretRef (HS256, HS384, HS512) or jwksURL (RS*, ES*, EdDSA)"
// +kubebuilder:validation:XValidation:rule="self.type == 'JWT' || !has(self.jwt)",message="auth.jwt is set but auth.type is not JWT; set auth.type to JWT, or remove auth.jwt"
type Auth struct {
	// type is Guest (default: user ids made by the server), TrustedUserID (?user_id= is believed) or JWT.
	// +kubebuilder:default=Guest
	// +optional
	Type AuthType `json:"type,omitempty"`
	// jwt says which tokens are accepted; only with type JWT.
	// +optional
	JWT *JWT `json:"jwt,omitempty"`
}

// JWT says which tokens are accepted.
//
// +kubebuilder:validation:XValidation:rule="has(self.secretRef) != has(self.jwksURL)",message="set exactly one of auth.jwt.secretRef (HS256, HS384, HS512) and auth.jwt.jwksURL (RS*, ES*, EdDSA)"
type JWT struct {
	// secretRef names the entry of a Secret with the shared secret for HS256, HS384 and HS512.
	// +optional
	SecretRef *SecretKeyReference `json:"secretRef,omitempty"`
	// jwksURL is where the public keys for RS*, ES* and EdDSA are published, an http or https URL.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:XValidation:rule="isURL(self) && url(self).getScheme() in ['https', 'http']",message="write an absolute URL such as https://login.example.com/.well-known/jwks.json"
	// +optional
	JWKSURL string `json:"jwksURL,omitempty"`
	// issuer that tokens must carry in iss; empty: not checked.
	// +kubebuilder:validation:MaxLength=1024
	// +optional
	Issuer string `json:"issuer,omitempty"`
	// audience lists what tokens may carry in aud; one match is enough; empty: not checked. At most 16.
	// +listType=set
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=1024
	// +kubebuilder:validation:items:XValidation:rule="!self.contains(',')",message="write one audience an item, without commas"
	// +optional
	Audience []string `json:"audience,omitempty"`
	// userClaim names the claim with the user id; default sub.
	// +kubebuilder:default=sub
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	// +optional
	UserClaim string `json:"userClaim,omitempty"`
	// roomsClaim names the claim with the globs of rooms that the user may enter where a policy says token; default rooms.
	// +kubebuilder:default=rooms
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	// +optional
	RoomsClaim string `json:"roomsClaim,omitempty"`
}

// RoomPolicy holds for the rooms whose id matches.
type RoomPolicy struct {
	// match is a glob over the whole room id, 1 to 256 characters: * is any run of characters, ? one character.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	// +required
	Match string `json:"match,omitempty"`
	// history keeps messages so that clients can recover what they missed; absent: none.
	// +optional
	History *History `json:"history,omitempty"`
	// presence keeps who is in the room: Disabled (default) or Enabled.
	// +kubebuilder:default=Disabled
	// +optional
	Presence Mode `json:"presence,omitempty"`
	// join says who may join: anyone (default), authenticated (a verified token), token (the token's rooms claim must match) or none.
	// +kubebuilder:default=anyone
	// +kubebuilder:validation:Enum=anyone;authenticated;token;none
	// +optional
	Join string `json:"join,omitempty"`
	// publish says who may publish: anyone, authenticated, members (default: connections that have joined), token, server (only the server API) or none.
	// +kubebuilder:default=members
	// +kubebuilder:validation:Enum=anyone;authenticated;members;token;server;none
	// +optional
	Publish string `json:"publish,omitempty"`
}

// History bounds the log of a room.
type History struct {
	// size is in messages, 1 to 100000, default 1000.
	// +kubebuilder:default=1000
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100000
	// +optional
	Size int32 `json:"size,omitempty"`
	// ttlSeconds is how long the log is kept after its last message, 1 to 31536000 s, default 600.
	// +kubebuilder:default=600
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=31536000
	// +optional
	TTLSeconds int32 `json:"ttlSeconds,omitempty"`
	// minReplicas of Redis that must have a message before it is acked as stored, 0 to 5, default 0; fewer: error unconfirmed.
	// +kubebuilder:default=0
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=5
	// +optional
	MinReplicas int32 `json:"minReplicas,omitempty"`
}

// DirectMessages says who may publish to a user.
type DirectMessages struct {
	// publish is anyone, authenticated (a verified token), server (only the server API) or none.
	// +kubebuilder:validation:Enum=anyone;authenticated;server;none
	// +optional
	Publish string `json:"publish,omitempty"`
}

// Inbox keeps messages to a user while they are away.
type Inbox struct {
	// size is in messages, 1 to 10000, default 100.
	// +kubebuilder:default=100
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=10000
	// +optional
	Size int32 `json:"size,omitempty"`
	// ttlSeconds is how long an inbox is kept after its last message, 1 to 31536000 s, default 86400.
	// +kubebuilder:default=86400
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=31536000
	// +optional
	TTLSeconds int32 `json:"ttlSeconds,omitempty"`
	// maxBytes of one inbox, 1024 to 67108864 bytes, default 262144; the oldest messages go first.
	// +kubebuilder:default=262144
	// +kubebuilder:validation:Minimum=1024
	// +kubebuilder:validation:Maximum=67108864
	// +optional
	MaxBytes int32 `json:"maxBytes,omitempty"`
}

// ServerAPI is the HTTP API for servers.
//
// +kubebuilder:validation:XValidation:rule="self.mode == 'Enabled' || !has(self.keySecretRef)",message="api.keySecretRef is set but api.mode is Disabled; set api.mode to Enabled, or remove api.keySecretRef"
type ServerAPI struct {
	// mode is Enabled (default) or Disabled.
	// +kubebuilder:default=Enabled
	// +optional
	Mode Mode `json:"mode,omitempty"`
	// keySecretRef names a Secret whose entry api-key holds one key a line, so that keys can be rotated; absent: the operator
	// makes one in the Secret <name>-api-key.
	// +optional
	KeySecretRef *SecretReference `json:"keySecretRef,omitempty"`
}
