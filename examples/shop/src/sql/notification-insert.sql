insert into notification (order_id, message_id, recipient, text) values ($1, $2, $3, $4)
