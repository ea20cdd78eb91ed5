-- Binary columns compare byte by byte: no collation makes two identifiers one.
create table if not exists inbox_seen (
  consumer varbinary(255) not null,
  message_id varbinary(255) not null,
  result longtext character set utf8mb4,
  seen_at timestamp(3) not null default current_timestamp(3),
  primary key (consumer, message_id),
  key inbox_seen_age (consumer, seen_at)
) engine = InnoDB
